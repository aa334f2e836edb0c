"""A copy of so many keys: the limit holds, and just the keys that were copied are verified, whatever happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.conftest import ClusterFactory, ServerFactory
from tests.support.commands import at
from tests.support.compare import all_keys
from tests.support.filling import write_strings
from tests.support.hooks import At, is_write
from tests.support.processes import VERIFIED, run_keyferry, start_keyferry, worker_pids
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.summary import result_of


def test_the_limit_holds_when_a_worker_is_killed(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 20_000)
    killing = At(9, lambda: None)
    with Proxy(target, killing) as proxy:
        words = (*at(source), "replicate", *at(proxy), "--limit", "7000", "--workers", "2", "--batch", "50", "--json")
        with start_keyferry(*words) as run:
            killing._act = lambda: os.kill(worker_pids(run.pid)[0], signal.SIGKILL)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert "a worker died" in ran.err
    assert (result_of(ran)["keys"], target.call("DBSIZE")) == (7_000, 7_000)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_copy_with_a_limit_does_not_begin_again(form: str, server: ServerFactory) -> None:
    """What was copied before stays at the target, so that a second pass would bring more keys than the limit."""
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 3_000)
    words = ("--batch", "50", "--limit", "2900", *(["--json"] * (form == "json")))
    with Proxy(source, At(20, target.restart, lambda args: args[0] == b"MGET")) as proxy:
        ran = run_keyferry(*at(proxy), "replicate", *at(target), *words)
    assert ran.code == 5, ran.err
    assert "a copy with --limit cannot begin again" in ran.err
    if form == "json":
        told = result_of(ran)
        assert told["exit_code"] == 5 and 0 < told["keys"] < 2_900 and not told["exact"]
    else:
        assert "copy " in ran.out and "verify    not done" in ran.out


class Expiring(Hooks):
    """Between the copy and its verification, `expire` is called."""

    def __init__(self, expire: Callable[[], object]) -> None:
        self.expire = expire
        self.written = self.done = False

    def on_command(self, args: Args) -> Answer:
        self.written = self.written or is_write(args)
        if self.written and args[0] == b"INFO" and not self.done:
            self.done = True
            self.expire()
        return args


def test_a_copy_with_a_limit_is_verified_though_some_of_its_keys_expire(server: ServerFactory) -> None:
    """No others are looked at in their place: those were not copied."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 30)

    def expire() -> None:
        some = sorted(all_keys(target))[:3]
        source.call("DEL", *some)
        target.call("DEL", *some)

    with Proxy(target, Expiring(expire)) as proxy:
        ran = run_keyferry(*at(source), "replicate", *at(proxy), "--limit", "10", "--json", env=VERIFIED)
    verify = result_of(ran)["verify"]
    assert (ran.code, verify["verdict"], verify["expired"]) == (0, "OK:7 V:0 >:0 <:0 T:0", 3), ran.err


def test_a_copy_with_a_limit_is_verified_in_each_of_its_databases(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for db in (1, 2):
        write_strings(source, 30, db=db)
    target.call("SET", "key:1", "in db 0")
    words = ("--db-map", "1:2,2:1", "--limit", "40", "--include", "*", "--json")
    ran = run_keyferry(*at(source), "replicate", *at(target), *words, env=VERIFIED)
    verify = result_of(ran)["verify"]
    assert (ran.code, verify["verdict"]) == (0, "OK:40 V:0 >:0 <:0 T:0"), ran.err


def test_a_copy_of_a_cluster_with_a_limit_is_verified(cluster: ClusterFactory, server: ServerFactory) -> None:
    source, target = cluster("7.0", 3, 0), server("7.0")
    with source.connect() as connection:
        for number in range(3_000):
            connection.must("SET", f"key:{number}", "value")
    words = ("--limit", "2000", "--exclude", "key:7*", "--type", "string,hash", "--workers", "2", "--json")
    ran = run_keyferry("-p", str(source.masters[0].port), "replicate", *at(target), *words, env=VERIFIED)
    verify = result_of(ran)["verify"]
    assert (ran.code, verify["verdict"]) == (0, "OK:2000 V:0 >:0 <:0 T:0"), ran.err
    again = run_keyferry("-p", str(source.masters[0].port), "compare", *at(target), *words)
    assert (again.code, result_of(again)["verify"]["verdict"]) == (0, "OK:2000 V:0 >:0 <:0 T:0"), again.err
