"""Live copies that are refused, before they begin or where they would leave something out."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.filling import write_strings
from tests.support.hooks import Verifying
from tests.support.live import (
    feeds,
    followed,
    start_live,
    wait_for_feed,
    wait_until,
)
from tests.support.processes import VERIFIED, run_keyferry, start_keyferry
from tests.support.respproxy import Answer, Args, Proxy
from tests.support.words import refusal


def test_one_server_a_replica_and_a_copy_back_are_refused(server: ServerFactory) -> None:
    source, target, replica = server("7.0"), server("7.0"), server("7.0", fresh=True)
    ran = run_keyferry(*at(source), "replicate", "-p", str(source.port), "-n", "1", "--live")
    assert ran.code == 6 and "are one server" in ran.err
    replica.call("REPLICAOF", "127.0.0.1", source.port)
    wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
    ran = run_keyferry(*at(replica), "replicate", "-p", str(source.port), "--live")
    assert ran.code == 6 and "hold the same data" in ran.err
    write_strings(source, 100)
    with start_live(source, target, "--idle-timeout", "1h") as run:
        wait_for_feed(source)
        wait_until(lambda: target.call("DBSIZE") == 100)
        ran = run_keyferry(*at(target), "replicate", "-p", str(source.port), "--live")
        assert ran.code == 6
        assert "in both directions at once every change would come back" in ran.err
        run.signal_all(signal.SIGINT)
        assert followed(run).ran.code == 0
    assert feeds(source) == []


def test_a_copy_back_is_refused_whatever_the_connections_are_called(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    named = [f"{one.uri}?client_name=migration" for one in (source, target)]
    with start_keyferry("replicate", *named, "--live", "--idle-timeout", "1h", env=VERIFIED) as run:
        wait_until(lambda: target.call("DBSIZE") == 100)
        for one in (source, target):
            assert b" name=migration" in one.call("CLIENT", "LIST")
        ran = run_keyferry("replicate", *reversed(named), "--live", "--idle-timeout", "500", env=VERIFIED)
        assert ran.code == 6, ran.out
        assert "in both directions at once every change would come back" in ran.err
        run.signal_all(signal.SIGINT)
        assert run.wait().code == 0


class BeforeTheFeed(Verifying):
    """Something happens when a feed comes: what speaks against it was looked for, and nothing is listened to yet."""

    def on_command(self, args: Args) -> Answer:
        if args[-1].endswith(b":feed") and not self.acted:
            self.acted = True
            self.act()
        return args


def test_of_two_copies_back_and_forth_that_begin_at_once_one_is_refused(server: ServerFactory) -> None:
    """The one has looked for the other, in vain, and listens only once the other does."""
    here, there = server("7.0"), server("7.0")
    write_strings(here, 100)
    with ExitStack() as others:

        def begin() -> None:
            others.enter_context(start_live(there, here, "--idle-timeout", "1h"))
            wait_for_feed(there)

        with Proxy(here, BeforeTheFeed(begin)) as proxy, start_live(proxy, there, "--idle-timeout", "1h") as run:
            run.wait_for_text("in both directions at once every change would come back", timeout=30)
            assert run.wait().code == 6
    assert there.call("DBSIZE") == 0


@pytest.mark.covers("live-only", "idle-timeout", "feed", "enable-notifications", "on-converged", "live")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--live-only", "--live-only needs --live"),
        ("--idle-timeout 500", "--idle-timeout needs --live"),
        ("--feed tracking", "--feed needs --live"),
        ("--enable-notifications", "--enable-notifications needs --live"),
        ("--on-converged true", "--on-converged needs --live"),
        ("--live --no-ttl --max-ttl 1h", "--max-ttl and --no-ttl exclude each other with --live"),
        ("--live --no-verify --on-converged true", "--on-converged needs a verification"),
        ("--live --idle-timeout 0", "--idle-timeout '0': must be a duration above 0, like 5s; a bare number"),
        ("--live --limit 5", "--limit and --live exclude each other"),
        ("--live --keys-from -", "--keys-from and --live exclude each other"),
        ("--live --on-conflict skip", "--on-conflict and --live exclude each other"),
        ("--live --db-map 0:0,1:0 --merge-dbs", "--live cannot follow two databases into one"),
        ("--live --feed tracking --enable-notifications", "--enable-notifications and --feed exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(words: str, says: str) -> None:
    assert says in refusal(f"replicate s t {words}")
