"""A server that is lost between the phases of a run, when only the coordinator asks: it waits as workers do."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyferry.aside import AsideFile
from keyferry.contacts import Contacts
from keyferry.coordinator import Coordinator
from keyferry.partitioners.control import Control
from keyferry.signals import Ended
from keyferry.state import State
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import AccessError, UnreachedError
from keyferry.workers.setup import Node, Setup
from keyferry.workers.task import COPY_RANGE, Task
from tests.conftest import ServerFactory
from tests.support.busy import is_busy
from tests.support.commands import at
from tests.support.compare import assert_equal
from tests.support.dataset import fill_large
from tests.support.filling import write_strings
from tests.support.hooks import SURVEYED
from tests.support.live import wait_until
from tests.support.paces import SLOWLY, wait_for_keys
from tests.support.processes import VERIFIED, start_command, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.seats import NotedSeats
from tests.support.servers import Server, free_port

KEYS = 2_000
#: No fault takes longer to come, seconds.
FAULT_S = 60.0
#: So long the server is away where it comes back.
AWAY_S = 3.0
LIVE = ("--live", "--idle-timeout", "500")

AT_THE_END = {
    "source-counted": ("source", SURVEYED + 1, ()),
    "source-verified": ("source", SURVEYED + 2, ()),
    "target-verified": ("target", SURVEYED + 1, ()),
    "source-live": ("source", SURVEYED + 1, LIVE),
    "target-live": ("target", SURVEYED + 2, LIVE),
}


@contextmanager
def lost(side: str, number: int, source: Server, target: Server) -> Iterator[tuple[FaultProxy, list[str]]]:
    """A proxy in which the control connection hangs when it asks for the size that often; with the words of a copy."""
    write_strings(source, KEYS)
    behind = source if side == "source" else target
    with FaultProxy(behind.port, f"stall at request DBSIZE {number} connection 1") as one:
        ends = (one, target) if side == "source" else (source, one)
        yield one, [*at(ends[0]), "replicate", *at(ends[1]), "--workers", "1"]


def goes_away(proxy: FaultProxy) -> None:
    """Once the moment has come: the connections are lost, and no other is taken."""
    proxy.wait_until_fired(FAULT_S)
    proxy.set("reset at connect always")
    proxy.kill_all()


def comes_back(proxy: FaultProxy) -> None:
    proxy.set("")


@pytest.mark.parametrize(("side", "number", "more"), AT_THE_END.values(), ids=list(AT_THE_END))
def test_a_server_that_is_away_for_a_while_is_waited_for(
    side: str, number: int, more: tuple[str, ...], server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    with lost(side, number, source, target) as (proxy, words):
        with start_keyferry(*words, *more, "--retry-for", "30s", env=VERIFIED) as run:
            goes_away(proxy)
            assert target.call("DBSIZE") == KEYS
            time.sleep(AWAY_S)
            comes_back(proxy)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert f"{side} {proxy.address}: not reached" in ran.err and "connected again after" in ran.err
    assert f"OK:{KEYS} V:0 >:0 <:0 T:0" in ran.out
    assert_equal(source, target)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_comparison_waits_as_well(side: str, server: ServerFactory) -> None:
    """Lost when both sides are counted in the middle: all keys of the source are compared by then."""
    source, target = server("7.0"), server("7.0")
    write_strings(target, KEYS)
    with lost(side, SURVEYED + 2, source, target) as (proxy, words):
        words[words.index("replicate")] = "compare"
        with start_keyferry(*words, "--retry-for", "30s") as run:
            goes_away(proxy)
            time.sleep(AWAY_S)
            comes_back(proxy)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert f"{side} {proxy.address}: not reached" in ran.err and "connected again after" in ran.err
    assert f"OK:{KEYS} V:0 >:0 <:0 T:0" in ran.out


@pytest.mark.parametrize(("side", "number", "more"), AT_THE_END.values(), ids=list(AT_THE_END))
def test_a_server_that_is_away_for_longer_than_allowed_ends_the_run(
    side: str, number: int, more: tuple[str, ...], server: ServerFactory
) -> None:
    """The first key was written long ago, so it is no server that was not reached: 5, not 3 or 4."""
    source, target = server("7.0"), server("7.0")
    with lost(side, number, source, target) as (proxy, words):
        with start_keyferry(*words, *more, "--retry-for", "1s", "--json", env=VERIFIED) as run:
            goes_away(proxy)
            ran = run.wait()
    assert ran.code == 5, ran.err
    assert f"error: {side} {proxy.address}: not reached" in ran.err
    told = json.loads(ran.out)
    assert (told["exit_code"], told["keys"]) == (5, KEYS)


@pytest.mark.parametrize(("number", "code"), [(SURVEYED + 1, 4), (SURVEYED + 2, 5)], ids=["before", "after"])
def test_a_comparison_tells_the_first_key_from_what_is_before_it(number: int, code: int, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(target, KEYS)
    with lost("target", number, source, target) as (proxy, words):
        words[words.index("replicate")] = "compare"
        with start_keyferry(*words, "--retry-for", "1s", "--json") as run:
            goes_away(proxy)
            ran = run.wait()
    assert (ran.code, json.loads(ran.out)["exit_code"]) == (code, code), ran.err
    assert f"error: target {proxy.address}: not reached" in ran.err


def test_the_python_api_tells_that_the_run_has_ended(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    with lost("target", SURVEYED + 1, source, target) as (proxy, _):
        script = f"""
import keyferry
try:
    keyferry.replicate({source.uri!r}, "redis://{proxy.address}", workers=1, retry_for=0.5)
except keyferry.KeyferryError as error:
    print(type(error).__name__, error.exit_code, error.side)
"""
        with start_command(sys.executable, "-c", script) as run:
            goes_away(proxy)
            ran = run.wait()
    assert ran.out.split() == ["RunError", "5", "target"], ran.err


def test_a_server_that_is_away_when_the_copy_begins_again_ends_the_run(server: ServerFactory) -> None:
    """Another process answers at the source's address, and is lost while it is asked what it is."""
    source, target = server("7.0", fresh=True), server("7.0")
    fill_large(source, 20_000)
    with FaultProxy(source.port, "reset at request DBSIZE connection 3+ always") as proxy:
        words = (*at(proxy), "replicate", *at(target), *SLOWLY, "--retry-for", "1s")
        with start_keyferry(*words) as run:
            wait_for_keys(target, run)
            source.restart(keep_data=True)
            ran = run.wait()
    assert ran.code == 5, ran.err
    assert "the copy begins again" in ran.err
    assert f"error: source {proxy.address}: not reached" in ran.err


@pytest.mark.parametrize("more", [(), LIVE], ids=["snapshot", "live"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_the_wait(number: int, more: tuple[str, ...], server: ServerFactory) -> None:
    """Ctrl-C asks a live copy to cut over, which it does already: the same again ends it."""
    source, target = server("7.0"), server("7.0")
    with lost("target", SURVEYED + 1 + bool(more), source, target) as (proxy, words):
        with start_keyferry(*words, *more, "--json", env=VERIFIED) as run:
            goes_away(proxy)
            run.wait_for_text("not reached")
            run.signal_all(number)
            if more and number == signal.SIGINT:
                time.sleep(1)
                assert run.running
                run.signal_all(number)
            ran = run.wait()
    assert ran.code == 128 + number, ran.err
    told = json.loads(ran.out)
    assert (told["exit_code"], told["keys"]) == (128 + number, KEYS)
    assert "Traceback" not in ran.err and not ran.left


def test_the_loop_that_feeds_workers_waits_for_no_server() -> None:
    control = Control(Endpoint(port=free_port()), "target")
    control.patience = lambda control, ask: "waited"

    def tick(state: State) -> None:
        with pytest.raises(UnreachedError):
            control.call("PING")
        raise Ended(signal.SIGTERM)

    run = Coordinator(
        Setup([], [Node(Endpoint())]), [Task(0, COPY_RANGE)], 0, NotedSeats(), Contacts(print, print, tick),
        controls=([], [control]), aside=AsideFile(""),
    )  # fmt: skip
    with pytest.raises(Ended):
        run.run()
    assert control.call("PING") == "waited"


@pytest.mark.parametrize("refused", [False, True], ids=["lost again", "refused"])
def test_a_connection_that_is_opened_again_is_about_the_same_database(refused: bool, server: ServerFactory) -> None:
    one = server("7.0", acl=["user default on nopass ~* &* +@all"])
    one.call("SET", "in database 0", "x")
    with FaultProxy(one.port, "" if refused else "cut at request SELECT connection 2") as proxy:
        control = Control(Endpoint(port=proxy.port, timeout_s=5), "source")
        control.open()
        assert control.select(3) == b"OK"
        proxy.kill_all()
        if refused:
            one.call("ACL", "SETUSER", "default", "-select")
        with pytest.raises(AccessError):
            control.call("DBSIZE")
        one.call("ACL", "SETUSER", "default", "+select")
        assert control.call("DBSIZE") == 0
        control.close()


def test_a_server_that_is_busy_at_the_verification_is_waited_for(server: ServerFactory) -> None:
    source, target = server("7.0", "--busy-reply-threshold", "50"), server("7.0")
    with lost("source", SURVEYED + 2, source, target) as (proxy, words):
        with start_keyferry(*words, "--retry-for", "30s", env=VERIFIED) as run:
            proxy.wait_until_fired(FAULT_S)
            script = threading.Thread(target=run_until_killed, args=(source,))
            script.start()
            try:
                wait_until(lambda: is_busy(source))
                proxy.release()
                run.wait_for_text("busy running a script")
            finally:
                source.call("SCRIPT", "KILL")
                script.join(FAULT_S)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert f"OK:{KEYS} V:0 >:0 <:0 T:0" in ran.out


def run_until_killed(server: Server) -> None:
    with server.connect() as connection, contextlib.suppress(Exception):
        connection.call("EVAL", "while true do end", "0")
