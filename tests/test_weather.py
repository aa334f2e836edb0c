"""Bad weather: whatever a connection does, in whatever moment, no key is lost, nothing hangs, one line says what."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.commands import at
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill
from tests.support.processes import Result, Run, run_keyferry, start_keyferry, worker_pids
from tests.support.proxy import FaultProxy
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of

#: Enough for the probe, so that the ring is really split.
KEYS = 20_000
#: No run takes longer, whatever happens, seconds.
END_S = 100.0
#: Nor does a fault take longer to come, seconds.
FAULT_S = 60.0

WRITES = "MSET/SET/RESTORE"
READS = "MGET/GET/DUMP"
#: So many of them are far into a copy. There are some 8,000 in all, and nobody knows how two workers share them: a rule
#: that waits for this many must be for `connection 2+`, of which one has its half.
FAR = 3_000
#: What the log says of a connection that was lost, and of one that was opened in its place.
LOST, FOUND = "connection lost", "connected again"

#: Faults that pass by themselves, as the proxy's map has them. A stall lasts until the connection is given up.
FAULTS = ("cut", "stall", "slow 2000000", "reset", "half-close replies", "garbage")

#: When, by the side on which it happens. Connection 1 is the coordinator's, the others are workers'.
MOMENTS = {
    "source": {
        "connect": "at connect",
        "handshake": "at reply CLIENT",
        "scan": "at reply SCAN 3",
        "read": f"at reply {READS} 400",
    },
    "target": {
        "connect": "at connect",
        "handshake": "at reply CLIENT",
        "write": f"at request {WRITES} 400",
        "acknowledgement": f"at reply {WRITES} 400",
    },
}
CASES = [
    # Of those in which each fault, and each moment, comes on either side some are in every run; all pairs in a soak.
    pytest.param(side, f"{fault} {when} connection 2+", id=f"{side}-{moment}-{fault.split()[0]}",
                 marks=() if (row + column) % 3 == 0 else pytest.mark.soak)
    for side, moments in MOMENTS.items()
    for row, (moment, when) in enumerate(moments.items())
    for column, fault in enumerate(FAULTS)
]  # fmt: skip


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    """A source that no test of this file changes."""
    with Server("7.0") as source:
        fill(source, KEYS)
        yield source


def words(source: Server | FaultProxy, target: Server | FaultProxy, side: str = "", *options: str) -> list[str]:
    """The command line of a copy that gives up a silent connection to `side` after two seconds."""
    silent = {name: ("-o", "2") if name == side else () for name in ("source", "target")}
    small = ("--batch", "100", "--no-verify", "--json")
    return [*at(source), *silent["source"], "replicate", *at(target), *silent["target"], *small, *options]


def run_under(map: str, side: str, source: Server, target: Server, *options: str) -> Result:
    """A copy with the faults of `map` on one side; each of its rules must have fired."""
    with FaultProxy((source if side == "source" else target).port, map) as proxy:
        ends = (proxy, target) if side == "source" else (source, proxy)
        impatient = side if "stall" in map else ""
        ran = run_keyferry(*words(*ends, impatient, *options), timeout=END_S)
        proxy.wait_until_fired(0, count=len(map.split(";")))
    return ran


def assert_copied(ran: Result, source: Server, target: Server) -> None:
    """All went well in the end: nothing is missing, and each key was counted once."""
    assert ran.code == 0, ran.err
    assert_told(ran, errors=0)
    assert result_of(ran)["keys"] == source.call("DBSIZE")
    assert_equal(source, target)


def assert_told(ran: Result, errors: int) -> None:
    assert "Traceback" not in ran.err
    assert sum(line.startswith("error: ") for line in ran.err.splitlines()) == errors, ran.err


# -- faults that pass -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "map"), CASES)
def test_weather_that_passes_costs_no_key(side: str, map: str, filled: Server, server: ServerFactory) -> None:
    target = server("7.0")
    ran = run_under(map, side, filled, target, "--workers", "2")
    assert_copied(ran, filled, target)
    if "slow" not in map:
        assert LOST in ran.err and FOUND in ran.err.partition(LOST)[2]


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_storm_costs_no_key(side: str, filled: Server, server: ServerFactory) -> None:
    """One connection after the other is lost, each in another way."""
    target = server("7.0")
    faults = ("cut", "reset", "half-close requests", "stall", "cut")
    sizes = range(300_000, 800_000, 100_000)
    map = "; ".join(f"{fault} after {size} bytes connection 2+" for fault, size in zip(faults, sizes, strict=True))
    assert_copied(run_under(map, side, filled, target, "--workers", "1"), filled, target)


def test_a_long_link_that_breaks_costs_no_key(filled: Server, server: ServerFactory) -> None:
    target = server("7.0")
    map = f"cut at reply {WRITES} 400 connection 2+; delay 30ms"
    assert_copied(run_under(map, "target", filled, target, "--workers", "2"), filled, target)


def test_all_connections_lost_at_once_cost_no_key(filled: Server, server: ServerFactory) -> None:
    """Those of the coordinator too, and those of both sides."""
    target = server("7.0")
    with (
        FaultProxy(filled.port, f"stall at reply {READS} {FAR} connection 2+") as front,
        FaultProxy(target.port) as back,
    ):
        with start_keyferry(*words(front, back, "", "--workers", "2")) as run:
            front.wait_until_fired(FAULT_S)
            front.kill_all()
            back.kill_all()
            ran = run.wait(END_S)
    assert_copied(ran, filled, target)
    assert f"source {front.address}: {FOUND}" in ran.err
    assert f"target {back.address}: {FOUND}" in ran.err


# -- faults that never pass -------------------------------------------------------------------------------------------

ENDLESS = ["cut", "stall", *(pytest.param(fault, marks=pytest.mark.soak) for fault in ("reset", "garbage"))]


@pytest.mark.parametrize("fault", ENDLESS)
@pytest.mark.parametrize(("side", "code"), [("source", 3), ("target", 4)])
def test_weather_that_never_passes_before_the_first_key_is_an_unreachable_server(
    side: str, code: int, fault: str, filled: Server, server: ServerFactory
) -> None:
    target = server("7.0")
    ran = run_under(f"{fault} connection 2+ always", side, filled, target, "--retry-for", "2s")
    assert ran.code == code, ran.err
    assert_told(ran, errors=1)
    assert f"error: {side} 127.0.0.1:" in ran.err
    assert all_keys(target) == set()


@pytest.mark.parametrize("fault", ENDLESS)
@pytest.mark.parametrize(
    ("side", "when"), [("source", f"at reply {READS} 2000"), ("target", f"at reply {WRITES} 2000")]
)
def test_weather_that_never_passes_later_ends_the_run(
    side: str, when: str, fault: str, filled: Server, server: ServerFactory
) -> None:
    target = server("7.0")
    map = f"{fault} {when} connection 2; {fault} connection 3+ always"
    ran = run_under(map, side, filled, target, "--retry-for", "2s", "--workers", "1")
    assert ran.code == 5, ran.err
    assert_told(ran, errors=1)
    assert f"error: {side} 127.0.0.1:" in ran.err
    assert 0 < result_of(ran)["keys"] <= target.call("DBSIZE") < KEYS


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.startswith("slow")])
@pytest.mark.parametrize(("side", "code"), [("source", 3), ("target", 4)])
def test_a_first_connection_that_fails_is_an_unreachable_server(
    side: str, code: int, fault: str, filled: Server, server: ServerFactory
) -> None:
    target = server("7.0")
    ran = run_under(f"{fault} connection 1", side, filled, target)
    assert ran.code == code, ran.err
    assert_told(ran, errors=1)
    assert f"error: {side} 127.0.0.1:" in ran.err
    assert all_keys(target) == set()


# -- bytes of a connection that was given up --------------------------------------------------------------------------


def written_on_both_sides_of_a_stall(run: Run, proxy: FaultProxy, source: Server, target: Server) -> list[bytes]:
    """What the target holds in the end, when the run's first write is held in the network, with the old values, while
    new ones are written: one at the source, one at the target.
    """
    proxy.wait_until_fired(FAULT_S)
    source.call("SET", "changed at the source", "new")
    ran = run.wait(END_S)
    assert ran.code == 0 and not ran.left, ran.err
    assert_equal(source, target)
    target.call("SET", "changed at the target", "new")
    proxy.release()
    proxy.wait_until_closed(FAULT_S)  # the server has taken all that it will ever take
    found: list[bytes] = target.call("MGET", "changed at the source", "changed at the target")
    return found


def two_keys(source: Server) -> Server:
    source.call("MSET", "changed at the source", "old", "changed at the target", "old")
    return source


#: What happens to the connection that takes the place of the first: nothing; it is lost before it has killed the first
#: one (its third CLIENT command), or just after that.
SUCCESSORS = {
    "healthy": "",
    "lost-before-the-kill": "; cut at request CLIENT 3 connection 3",
    "lost-after-the-kill": "; cut at reply CLIENT 3 connection 3",
}


@pytest.mark.parametrize(
    ("kind", "successor"),
    [
        pytest.param(kind, name, marks=() if name == "healthy" or kind == "7.0" else pytest.mark.soak)
        for kind in KINDS
        for name in SUCCESSORS
    ],
)
def test_bytes_of_a_connection_that_was_given_up_are_never_executed(
    kind: str, successor: str, server: ServerFactory
) -> None:
    source, target = two_keys(server("6.2")), server(kind)
    map = f"stall at request {WRITES} connection 2{SUCCESSORS[successor]}"
    with FaultProxy(target.port, map) as proxy:
        with start_keyferry(*words(source, proxy, "target", "--workers", "1")) as run:
            assert written_on_both_sides_of_a_stall(run, proxy, source, target) == [b"new", b"new"]
        assert proxy.counters.fired == len(map.split(";"))


#: A script of the target's, which answers nobody meanwhile, and for how long, seconds.
BUSY_S = 5
BUSY = f"""
    local from = redis.call('TIME')
    repeat local now = redis.call('TIME') until now[1] - from[1] > {BUSY_S}
"""


def test_bytes_of_a_connection_are_not_executed_though_the_target_is_busy_when_the_next_one_comes(
    server: ServerFactory,
) -> None:
    """It does not tell its CLIENT ID then, and kills nothing."""
    source, target = two_keys(server("6.2")), server("7.0")
    target.call("CONFIG", "SET", "lua-time-limit", "50")
    with FaultProxy(target.port, f"stall at request {WRITES} connection 2") as proxy, target.connect() as script:
        with start_keyferry(*words(source, proxy, "target", "--workers", "1")) as run:
            proxy.wait_until_fired(FAULT_S)
            script.send([("EVAL", BUSY, 0)])
            assert written_on_both_sides_of_a_stall(run, proxy, source, target) == [b"new", b"new"]


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_of_a_worker_that_died_are_never_executed(kind: str, server: ServerFactory) -> None:
    source, target = two_keys(server("6.2")), server(kind)
    with FaultProxy(target.port, f"stall at request {WRITES} connection 2") as proxy:
        with start_keyferry(*words(source, proxy, "", "--workers", "1")) as run:
            proxy.wait_until_fired(FAULT_S)
            (worker,) = worker_pids(run.pid)
            os.kill(worker, signal.SIGKILL)
            assert written_on_both_sides_of_a_stall(run, proxy, source, target) == [b"new", b"new"]


class NoClientId(Hooks):
    """A server that does not tell which CLIENT ID a connection has."""

    def on_command(self, args: Args) -> Answer:
        if [word.upper() for word in args[:2]] == [b"CLIENT", b"ID"]:
            return b"-ERR unknown subcommand 'ID'\r\n"
        return args


@pytest.mark.parametrize("successor", ["", "; cut at request CLIENT connection 3"], ids=["healthy", "lost-as-well"])
def test_that_a_connection_cannot_be_killed_is_told_whatever_becomes_of_the_next_one(
    successor: str, server: ServerFactory
) -> None:
    source, target = two_keys(server("7.0")), server("7.0")
    with (
        Proxy(target, NoClientId()) as hiding,
        FaultProxy(hiding.port, f"stall at request {WRITES} connection 2{successor}") as proxy,
    ):
        ran = run_keyferry(*words(source, proxy, "target", "--workers", "1"), timeout=END_S)
    assert ran.code == 0, ran.err
    assert "could not be killed" in ran.err and "it tells no CLIENT ID" in ran.err


def test_a_connection_that_was_killed_is_not_killed_again_by_all_that_follow(
    filled: Server, server: ServerFactory
) -> None:
    target = server("7.0")
    map = "; ".join(f"cut at reply {WRITES} 40 connection {number}" for number in range(2, 6))
    ran = run_under(map, "target", filled, target, "--workers", "1")
    assert_copied(ran, filled, target)
    assert target.calls("client|kill") == 1 + 4  # the first one finds out whether it is allowed


# -- servers that come and go -----------------------------------------------------------------------------------------


def test_a_source_that_is_restarted_with_its_data_is_copied_from_the_beginning(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    fill(source, KEYS)
    with FaultProxy(target.port, f"stall at request {WRITES} {FAR} connection 2+") as proxy:
        with start_keyferry(*words(source, proxy, "", "--workers", "2")) as run:
            proxy.wait_until_fired(FAULT_S)
            source.restart(keep_data=True)  # another process: its cursors mean other keys
            proxy.release()
            ran = run.wait(END_S)
    assert_copied(ran, source, target)
    assert "restarted" in ran.err


def test_a_target_that_is_restarted_empty_is_filled_again(filled: Server, server: ServerFactory) -> None:
    target = server("7.0", fresh=True)
    with FaultProxy(filled.port, f"stall at reply {READS} {FAR} connection 2+") as proxy:
        with start_keyferry(*words(proxy, target, "", "--workers", "2")) as run:
            proxy.wait_until_fired(FAULT_S)
            assert all_keys(target)
            target.restart()
            proxy.release()
            ran = run.wait(END_S)
    assert_copied(ran, filled, target)
    assert "restarted" in ran.err


@pytest.mark.parametrize("full_s", [1, pytest.param(30, marks=pytest.mark.soak)])
def test_a_full_target_is_waited_for(full_s: float, filled: Server, server: ServerFactory) -> None:
    target = server("7.0", fresh=True)
    target.call("CONFIG", "SET", "maxmemory", int(target.info("memory")["used_memory"]) + 2_000_000)
    with start_keyferry(*words(filled, target)) as run:
        run.wait_for_text("waiting: target out of memory", timeout=FAULT_S)
        time.sleep(full_s)
        assert 0 < len(all_keys(target)) < KEYS
        target.call("CONFIG", "SET", "maxmemory", 0)
        ran = run.wait(END_S)
    assert_copied(ran, filled, target)


def test_losses_far_apart_are_no_long_one_where_all_keys_are_left_as_they_are(
    filled: Server, server: ServerFactory
) -> None:
    target = server("7.0")
    with target.connect() as connection:
        connection.pipeline([("SET", key, "there") for key in all_keys(filled)])
    rare = ("--on-conflict", "skip", "--scan-count", "50", "--workers", "1", "--retry-for", "1s")
    with FaultProxy(target.port, "delay 20ms; cut at request EXISTS 1000 connection 2+ always") as proxy:
        ran = run_keyferry(*words(filled, proxy, "", *rare), timeout=END_S)
    assert ran.code == 0, ran.err
    assert ran.err.count(FOUND) > 3
    assert result_of(ran)["skipped"] == filled.call("DBSIZE")


@pytest.mark.parametrize("live", [False, True])
def test_a_target_that_closes_idle_connections_is_not_away(live: bool, filled: Server, server: ServerFactory) -> None:
    target = server("7.0")
    target.call("CONFIG", "SET", "timeout", "1")
    target.disconnect()
    none = ("--match", "nobody:*", "--workers", "1", "--scan-count", "20", "--retry-for", "1s")
    waits = ("--live", "--idle-timeout", "8000") if live else ()
    with FaultProxy(filled.port, "" if live else "delay 60ms") as proxy:
        ran = run_keyferry(*words(proxy, target, "", *none, *waits), timeout=END_S)
    assert ran.code == 0, ran.err
    assert ran.err.count(FOUND) > 1
