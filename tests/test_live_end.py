"""The end of a live copy, on servers: what rests is copied before it, and so is what a dead worker had."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import ServerFactory
from tests.support.live import (
    UNTIL_A_SIGNAL,
    cut_over,
    feeds_port,
    followed,
    notify,
    start_live,
    wait_for_feed,
    wait_until,
    wait_until_followed,
)
from tests.support.processes import Run, pid_with_port, worker_pids
from tests.support.proxy import FaultProxy
from tests.support.servers import Server

# ---- keys that rest -------------------------------------------------------------------------------------------------

#: A value of so many bytes that took so long rests ten times as long.
LARGE_BYTES, TOOK_S = 8 << 20, 1.5
HOLD = "stall replies at reply MGET"


def set_large(source: Server, letter: str) -> None:
    source.call("SET", "large", letter * LARGE_BYTES)


def large_at(target: Server) -> bytes:
    """Of what letter the value is."""
    return target.call("GETRANGE", "large", 0, 0)


@contextmanager
def copy_of_a_slow_key(source: Server, target: Server, *words: str) -> Iterator[tuple[Run, FaultProxy]]:
    """A live copy through a proxy before the source; `large` was slow to copy, and rests."""
    with FaultProxy(source.port) as proxy, start_live(proxy, target, *words) as run:
        wait_for_feed(source)
        source.call("SET", "marker", "1")
        wait_until_followed(target)  # all ranges are read by then: `large` is copied as what has changed
        proxy.set(HOLD)
        set_large(source, "a")
        proxy.wait_until_fired(60)
        time.sleep(TOOK_S)
        proxy.set("")
        proxy.release()
        wait_until(lambda: large_at(target) == b"a")
        yield run, proxy


@pytest.mark.parametrize("words", [(), ("--no-verify",)], ids=["verified", "not verified"])
def test_a_key_that_rests_when_the_user_cuts_over_is_copied_once_more(
    words: tuple[str, ...], server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    with copy_of_a_slow_key(source, target, *UNTIL_A_SIGNAL, *words) as (run, _):
        set_large(source, "b")
        set_large(source, "c")
        time.sleep(1)  # until its change is known, and rests
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert large_at(target) == b"c"


def test_a_key_that_changes_in_its_rest_after_it_was_compared_is_copied_and_compared_again(
    server: ServerFactory,
) -> None:
    """The last look's fence takes its time: before it is passed, the key is known to have changed, and rests."""
    source, target = server("7.0"), server("7.0")
    with copy_of_a_slow_key(source, target, "--idle-timeout", "500") as (run, proxy):
        proxy.set(HOLD)
        proxy.wait_until_fired(60, count=2)  # the verification has the value as it was
        set_large(source, "b")
        proxy.set("delay 300ms at request PING always")
        proxy.release()
        done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["converged"]
    assert large_at(target) == b"b"


# ---- events on their way --------------------------------------------------------------------------------------------


def test_an_event_that_was_on_its_way_when_the_user_cut_over_is_no_write_after_it(server: ServerFactory) -> None:
    """It arrives behind the signal, and so does the first look at the source that counts the write."""
    source, target = server("8.2"), server("8.2")
    with FaultProxy(source.port) as proxy, start_live(proxy, target, *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        proxy.set("delay 600ms replies at reply INFO always")
        proxy.wait_until_fired(60)  # on the feed's connection, which looks at the source all the time
        source.call("SET", "late", "1")
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["converged"]
    assert target.call("GET", "late") == b"1"


#: A short command is taken in at once, whatever it does.
LATE_BYTES = 40_000_000
WRITE_LATE = f"redis.call('SET', ('x'):rep({LATE_BYTES}), '1')"


@pytest.mark.parametrize("words", [(), ("--no-verify",)], ids=["verified", "not verified"])
def test_a_write_whose_event_comes_behind_the_look_that_counts_it_is_copied(
    words: tuple[str, ...], server: ServerFactory
) -> None:
    """The source comes to both at once, at the end of a fence; and a large event takes its time."""
    source, target = server("7.0"), server("7.0")
    source.call("SET", "marker", "1")
    with FaultProxy(source.port) as proxy, start_live(proxy, target, "--idle-timeout", "2s", *words) as run:
        wait_until_followed(target)  # from now on only the feed has anything to ask
        proxy.set("stall replies at reply PING 2")
        proxy.wait_until_fired(60)  # the second one of the fence, after which it looks
        time.sleep(0.3)  # … and until then it asks nothing else
        with source.connect() as busy, source.connect() as writer:
            writer.call("PING")
            busy.send([("DEBUG", "SLEEP", "0.5")])
            time.sleep(0.1)
            writer.send([("EVAL", WRITE_LATE, "0")])
            proxy.set("")
            proxy.release()
            done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert target.call("DBSIZE") == 2


# ---- fields that expire ---------------------------------------------------------------------------------------------

#: Fields of one hash, each of which expires so long after the one before: for longer than a test may take.
FIELDS, EVERY_MS = 6000, 50


@pytest.mark.parametrize("feed", ["tracking", "notifications"])
@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_fields_that_go_on_expiring_are_no_writes(kind: str, feed: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    if feed == "notifications":
        notify(source)
    with source.connect() as connection:
        connection.must("HSET", "hash", *(word for number in range(FIELDS) for word in (f"field:{number}", "value")))
        expiries = (("HPEXPIRE", "hash", EVERY_MS * (1 + n), "FIELDS", 1, f"field:{n}") for n in range(FIELDS))
        connection.pipeline(expiries)
    with start_live(source, target, "--feed", feed) as run:
        done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["converged"]
    assert source.call("HLEN", "hash") > 0


# ---- streams of several databases -----------------------------------------------------------------------------------


def test_streams_of_a_database_do_not_wait_for_those_of_another_that_wait_for_them(server: ServerFactory) -> None:
    """The worker has connections to one database at a time, and more names are to be copied again than it is told."""
    source, target = server("7.0"), server("7.0")
    pad, count = "x" * 40_000, 1600
    for db in (0, 1):
        with source.connect(db=db) as conn:
            conn.pipeline([("XADD", f"{number}:{pad}", "1-1", "field", "value") for number in range(count)])
    notify(source)
    words = ("--dbs", "0,1", "--workers", "1", "-m", "1", "--scan-count", "50", *UNTIL_A_SIGNAL, "--no-verify")
    with start_live(source, target, *words) as run, target.connect(db=1) as other:
        wait_until(lambda: target.call("DBSIZE") == other.call("DBSIZE") == count)
        source.call("XGROUP", "CREATE", f"0:{pad}", "group", "0")
        source.call("XACK", f"0:{pad}", "group", "1-1")  # no feed tells of that
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["gaps"] == 0


# ---- what dead workers had ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--no-verify",)], ids=["verified", "not verified"])
def test_what_a_dead_worker_had_is_waited_for_though_the_target_is_out_of_reach(
    words: tuple[str, ...], server: ServerFactory
) -> None:
    """The source passes the fence of the cut-over long before the dead worker's connections can be killed."""
    source, target = server("7.0"), server("7.0")
    with FaultProxy(target.port) as proxy, start_live(source, proxy, *UNTIL_A_SIGNAL, "--workers", "1", *words) as run:
        wait_for_feed(source)
        source.call("SET", "key", "old")
        wait_until_followed(target, "key")
        proxy.set("cut at connect always")
        proxy.kill_all()
        source.call("SET", "key", "new")
        time.sleep(1)  # until the worker has it
        feed = pid_with_port(run, int(feeds_port(source)))
        (worker,) = set(worker_pids(run.pid)) - {feed}
        os.kill(worker, signal.SIGKILL)
        run.wait_for_text("a worker died")
        run.signal(signal.SIGINT)
        time.sleep(2)
        proxy.set("")
        done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert target.call("GET", "key") == b"new"
