"""What goes wrong under a live copy: it converges after a sweep, or says why not; it never ends with 0 unequal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from keyferry.sweeps import SWEEPS_MAX
from tests.conftest import ServerFactory
from tests.support.compare import differences
from tests.support.live import (
    TOLERANCE_MS,
    UNTIL_A_SIGNAL,
    asked_for_its_status,
    assert_converged,
    cut_over,
    end_writer,
    feeds,
    feeds_port,
    follow_writes,
    followed,
    generated,
    start_live,
    start_writer,
    wait_for_feed,
    wait_for_writes,
    wait_until,
    wait_until_followed,
)
from tests.support.processes import Run, children_of, pid_with_port
from tests.support.proxy import FaultProxy
from tests.support.servers import Server

KEYS, RATE, SECONDS = 5000, 4000, 1.0


def kill(server: Server, part: bytes) -> None:
    """Kill connections by what CLIENT LIST says of them."""
    for line in server.call("CLIENT", "LIST").splitlines():
        if part in line:
            server.call("CLIENT", "KILL", "ID", line.split()[0].removeprefix(b"id="))


def kill_the_feed(source: Server, target: Server) -> None:
    kill(source, b":feed ")


def kill_connections_of_the_source(source: Server, target: Server) -> None:
    kill(source, b"name=keyferry:")


def kill_connections_of_the_target(source: Server, target: Server) -> None:
    kill(target, b"name=keyferry:")


def cut_subscribers(source: Server, target: Server) -> None:
    """As a server does with one that is too slow: here, soon with any."""
    before = source.call("CONFIG", "GET", "client-output-buffer-limit")[1]
    source.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 1 1")
    time.sleep(0.3)
    source.call("CONFIG", "SET", "client-output-buffer-limit", before)


def switch_notifications_off(source: Server, target: Server) -> None:
    source.call("CONFIG", "SET", "notify-keyspace-events", "")


def switch_notifications_off_and_on(source: Server, target: Server) -> None:
    source.call("CONFIG", "SET", "notify-keyspace-events", "")
    source.call("SET", "key:in:between", "1")
    source.call("CONFIG", "SET", "notify-keyspace-events", "KA")


def swap_databases(source: Server, target: Server) -> None:
    source.call("SWAPDB", "0", "1")


def flush_all(source: Server, target: Server) -> None:
    source.call("FLUSHALL")


def flush_in_a_transaction(source: Server, target: Server) -> None:
    with source.connect() as connection:
        connection.pipeline([("MULTI",), ("SET", "in", "1"), ("FLUSHDB",), ("SET", "after", "1"), ("EXEC",)])


def reset_counters(source: Server, target: Server) -> None:
    source.call("CONFIG", "RESETSTAT")


def stop_the_target(source: Server, target: Server) -> None:
    target.pause()
    time.sleep(2)
    target.resume()


FAULTS: dict[Callable[[Server, Server], None], tuple[str, ...]] = {
    kill_the_feed: ("tracking", "notifications"),
    kill_connections_of_the_source: ("tracking",),
    kill_connections_of_the_target: ("tracking",),
    cut_subscribers: ("notifications",),
    switch_notifications_off: ("notifications",),
    switch_notifications_off_and_on: ("notifications",),
    swap_databases: ("tracking", "notifications"),
    flush_all: ("tracking", "notifications"),
    flush_in_a_transaction: ("notifications",),
    reset_counters: ("tracking",),
    stop_the_target: ("tracking",),
}
#: For every run of the tests; the others, and more turns of all, are for scripts/soak.
QUICK = {
    (kill_the_feed, "notifications"),
    (kill_connections_of_the_source, "tracking"),
    (kill_connections_of_the_target, "tracking"),
    (switch_notifications_off, "notifications"),
    (swap_databases, "tracking"),
    (flush_all, "notifications"),
}
CASES = [(fault, feed, turn) for fault, feeds in FAULTS.items() for feed in feeds for turn in range(5)]
#: What cannot be made good.
ENDS_8 = (switch_notifications_off,)


@pytest.mark.parametrize(
    ("fault", "feed", "turn"),
    [
        pytest.param(
            *case,
            marks=() if case[:2] in QUICK and not case[2] else pytest.mark.soak,
            id=f"{case[0].__name__}-{case[1]}-{case[2]}",
        )
        for case in CASES
    ],
)
def test_a_fault_is_made_good_or_told(
    fault: Callable[[Server, Server], None], feed: str, turn: int, server: ServerFactory
) -> None:
    source, target = server("7.0", fresh=True), server("8.2" if turn % 2 else "7.0", fresh=True)
    source.call("CONFIG", "SET", "notify-keyspace-events", "KA")
    generated(source, KEYS)
    meanwhile = lambda run: fault(source, target)  # noqa: E731
    done = follow_writes(source, target, KEYS, RATE, SECONDS, "--feed", feed, meanwhile=meanwhile)
    if fault in ENDS_8:
        assert done.ran.code == 8, done.ran.err
        assert "notifications were switched off" in done.ran.err
    else:
        assert_converged(source, target, done, gaps=None)


def test_a_feed_process_that_is_killed_is_replaced_and_its_gap_made_good(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, KEYS)

    done = follow_writes(source, target, KEYS, RATE, SECONDS, meanwhile=lambda run: kill_the_process(run, source))
    assert "the feed process died" in done.ran.err
    assert_converged(source, target, done, gaps=1)


def test_events_are_counted_over_all_feeds_and_passes(server: ServerFactory) -> None:
    """One feed process is killed, and another one meets a source that has begun anew, so that the copy does as well."""
    source, target = server("7.0", fresh=True), server("7.0")
    with start_live(source, target, *UNTIL_A_SIGNAL, "--progress", "json") as run:
        known: list[str] = []
        for number, then in enumerate((lambda: kill_the_process(run, source), lambda: source.restart(keep_data=True))):
            wait_until(lambda: bool(set(feeds(source)) - set(known)))
            known = feeds(source)
            for name in ("one", "two"):
                source.call("SET", f"{name}:{number}", "1")
                wait_until_followed(target, f"{name}:{number}")
            run.wait_for_text(f'"live": {{"events": {2 + 2 * number},')
            then()
        run.wait_for_text("the copy begins again")
        wait_for_feed(source)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["events"] == 5


def test_a_cut_over_that_was_asked_for_is_the_next_pass_s_as_well(server: ServerFactory) -> None:
    """Ctrl-C comes while keys are copied; then the source begins anew, and so does the copy."""
    source, target = server("7.0", fresh=True), server("7.0")
    generated(source, 2_000)
    with start_live(source, target, *UNTIL_A_SIGNAL, "--rate", "500") as run:
        wait_until(lambda: target.call("DBSIZE") > 100)
        run.signal(signal.SIGINT)
        run.wait_for_text("cutting over")
        source.restart(keep_data=True)
        done = followed(run)
    assert "the copy begins again" in done.ran.err
    assert_converged(source, target, done, gaps=None)


def test_a_sweep_waits_for_a_target_that_is_out_of_reach(server: ServerFactory) -> None:
    """What it begins with is to look at the target, which comes back later than the source."""
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "a", "1", "b", "1")
    with FaultProxy(target.port) as proxy, start_live(source, proxy, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "b")
        time.sleep(0.5)  # until all is told
        proxy.set("cut at connect always")
        proxy.kill_all()
        kill_the_feed(source, target)
        run.wait_for_text("gap: ")
        time.sleep(3)
        assert run.running, run.err
        proxy.set("")
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert_converged(source, target, done, gaps=1)


def test_gap_after_gap_is_made_good_while_the_source_is_written_to(server: ServerFactory) -> None:
    """Over a longer link there is always a change under way, and its successor waits for it."""
    source, target = server("7.0"), server("7.0")
    generated(source, 200)
    with (
        FaultProxy(target.port, "delay 50ms", watch=False) as far,
        start_writer(source, 200, 500) as writer,
        start_live(source, far, "--progress", "log") as run,
    ):
        wait_for_feed(source)
        wait_for_writes(source)
        for gaps in ("1 gap", *(f"{number} gaps" for number in range(2, SWEEPS_MAX + 2))):
            kill_the_feed(source, target)
            wait_until(lambda: asked_for_its_status(run, f"{gaps} made good"))
            time.sleep(1)
        end_writer(writer)
        done = followed(run)
    assert_converged(source, target, done, gaps=SWEEPS_MAX + 1)


def kill_the_process(run: Run, source: Server) -> None:
    """That of the feed."""
    os.kill(pid_with_port(run, int(feeds_port(source))), signal.SIGKILL)


@pytest.mark.parametrize("loses", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["silent", "after a loss"])
def test_a_signal_ends_it_in_order_while_the_target_stands_still(loses: bool, server: ServerFactory) -> None:
    """The coordinator waits for no answer of a server, nor for a connection to one that only seems to be there."""
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "a", "1", "b", "1")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "b")
        time.sleep(1)
        if loses:
            kill(target, b":control ")
        target.pause()
        try:
            source.call("SET", "a", "2")  # so that a write is on its way
            time.sleep(3)
            run.signal_all(signal.SIGTERM)
            done = followed(run, timeout_s=50)  # a server is waited for a minute, what is on its way for 15 s
        finally:
            target.resume()
    assert done.ran.code == 128 + signal.SIGTERM, done.ran.err


@pytest.mark.parametrize("side", ["source", pytest.param("target", marks=pytest.mark.soak)])
def test_a_link_that_stalls_for_seconds(side: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, KEYS)
    behind = source if side == "source" else target
    with FaultProxy(behind.port, watch=False) as proxy:
        ends = (proxy, target) if side == "source" else (source, proxy)
        with start_writer(source, KEYS, RATE) as writer, start_live(*ends) as run:
            wait_for_feed(source)
            wait_for_writes(source)
            time.sleep(1)
            proxy.set("stall after 0 bytes always")
            proxy.wait_until_fired(20)
            time.sleep(2)
            proxy.set("")
            proxy.release()
            end_writer(writer)
            done = followed(run)
    assert_converged(source, target, done, gaps=None)


@pytest.mark.soak
def test_memory_stays_bounded_while_the_target_stalls(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    generated(source, 20_000)
    with start_writer(source, 20_000, 10_000, 8) as writer, start_live(source, target) as run:
        wait_until(lambda: target.call("DBSIZE") > 15_000)
        target.pause()
        time.sleep(5)
        most = sum(map(memory_kb, children_of(run.pid)))
        target.resume()
        assert writer.wait(60).code == 0
        done = followed(run)
    assert_converged(source, target, done)
    assert most < 400_000, f"{most} kB"


def memory_kb(pid: int) -> int:
    """The share of a process in memory."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except OSError:
        return 0


def test_a_run_that_ends_with_0_has_no_difference(server: ServerFactory) -> None:
    """The opposite of what this file looks for would be seen."""
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "1")
    assert differences(source, target, ttl_tolerance_ms=TOLERANCE_MS)
    assert feeds(source) == []
