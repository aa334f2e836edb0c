"""What the options do that say how hard a copy may be on the servers. A test of a limit never asks for speed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyferry.workers.pace import SAVED_S, WINDOW_S
from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import assert_equal
from tests.support.disguises import OffsetCursors
from tests.support.filling import write_strings
from tests.support.hooks import TurnsOpaque
from tests.support.live import wait_until
from tests.support.monitor import Executed, Monitor
from tests.support.processes import run_keyferry, start_keyferry, worker_pids
from tests.support.respproxy import Proxy
from tests.support.servers import Server
from tests.support.summary import result_of

#: What may pass beyond rate * t: what a worker has saved up, and windows that are paid for by what comes after them.
BEFOREHAND_S = SAVED_S + 2 * WINDOW_S


@pytest.mark.covers("rate")
@pytest.mark.parametrize(("keys", "workers"), [(3_000, "1"), (24_000, "2")])
def test_no_more_keys_a_second_are_read_than_the_rate(keys: int, workers: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, keys)
    with Monitor(source) as reads:
        ran = copied(source, target, "--rate", str(keys // 3), "--workers", workers, "--json")
    windows = [one for one in reads.commands if one.name == "MGET"]
    assert keys_of(windows) <= keys // 3 * (seconds_of(windows) + BEFOREHAND_S)
    assert result_of(ran)["keys"] == keys
    assert_equal(source, target)


@pytest.mark.covers("bandwidth")
@pytest.mark.parametrize("size", [100, 20_000])
def test_no_more_bytes_a_second_are_read_than_the_bandwidth(size: int, server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    keys = 3_000_000 // size
    write_strings(source, keys, size)
    with Monitor(source) as reads:
        ran = copied(source, target, "--bandwidth", "1m", "--workers", "1", "--json")
    windows = [one for one in reads.commands if one.name in ("MGET", "GET")]
    first = 16 * size  # the first window is opened before anybody knows how large values are
    assert keys_of(windows) * size <= 10**6 * (seconds_of(windows) + BEFOREHAND_S) + first
    assert result_of(ran)["bytes"] == 3_000_000
    assert_equal(source, target)


def keys_of(windows: list[Executed]) -> int:
    return sum(len(one.args) - 1 for one in windows)


def seconds_of(windows: list[Executed]) -> float:
    """From the first to the last one, by the server's clock."""
    return windows[-1].time_s - windows[0].time_s


@pytest.mark.covers("rate")
def test_a_scanner_that_hands_out_keys_takes_no_part_of_the_rate(server: ServerFactory) -> None:
    """Where cursors cannot be cut one worker scans and others copy; all of them end, and all keys arrive."""
    source, target = server("7.0"), server("9.1")
    write_strings(source, 25_000)
    with Proxy(source, OffsetCursors(source)) as proxy:
        ran = copied(proxy, target, "--rate", "25000", "--workers", "2", "--json")
    assert result_of(ran)["keys"] == 25_000
    assert_equal(source, target)


@pytest.mark.covers("rate")
def test_a_pass_that_begins_again_keeps_no_worker_waiting(server: ServerFactory) -> None:
    """Tasks of the pass that was given up still hold lanes: they must come to their end."""
    source, target = server("7.0"), server("9.1")
    write_strings(source, 25_000)
    with Proxy(source, TurnsOpaque()) as proxy:
        ran = copied(proxy, target, "--rate", "25000", "--workers", "2", "--json")
    assert "cursors cannot be split" in ran.err
    assert result_of(ran)["keys"] == 25_000
    assert_equal(source, target)


@contextmanager
def long_commands(server: Server) -> Iterator[threading.Event]:
    """A client that keeps the server busy for 20 ms at a time, until the event is set or the block ends."""
    enough = threading.Event()

    def work() -> None:
        with server.connect() as connection:
            while not enough.is_set():
                connection.call("DEBUG", "SLEEP", "0.02")

    client = threading.Thread(target=work)
    client.start()
    try:
        yield enough
    finally:
        enough.set()
        client.join()


@pytest.mark.covers("max-source-latency")
def test_a_source_that_others_keep_busy_is_given_time_and_the_copy_ends_all_the_same(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 60_000)
    words = (*at(source), "replicate", *at(target), "--progress", "json", "--workers", "2")
    # The rate makes the copy last long enough, and go no faster than the busy source would let it: the first keys are
    # acknowledged after some seconds, and only what has been slow then can be held back.
    with (
        start_keyferry(*words, "--rate", "5000", "--max-source-latency", "5ms") as run,
        long_commands(source) as enough,
    ):
        run.wait_for_text('"state": "throttled", "reason": "source ')
        enough.set()
        ran = run.wait()
    assert ran.code == 0, ran.err
    told = [json.loads(line)["reason"] for line in ran.err.splitlines() if line.startswith("{")]
    slower_ms = [float(text.split()[1]) for text in told if text.startswith("source ")]
    assert slower_ms and min(slower_ms) >= 5
    assert_equal(source, target)


def test_progress_lines_say_which_limit_holds_the_copy_back(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 3_000)
    told = copied(source, target, "--rate", "1500", "--progress", "json").err
    assert '"state": "throttled", "reason": "--rate 1,500 keys/s"' in told
    told = copied(source, target, "--bandwidth", "30k", "--progress", "json").err
    assert '"state": "throttled", "reason": "--bandwidth 30 kB/s"' in told


@pytest.mark.covers("rate", "bandwidth", "max-source-latency")
def test_the_plan_shows_the_limits_and_what_they_cost(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 1_200)
    limits = ("--rate", "20", "--bandwidth", "10mb", "--max-source-latency", "7.5ms")
    lines = copied(source, target, "--dry-run", *limits).out.splitlines()
    assert "limits    20 keys/s; 10,485,760 bytes/s; source at most 7.5 ms slower" in lines
    (estimate,) = [line for line in lines if line.startswith("estimate")]
    assert " 60.0 s " in estimate
    assert not [line for line in copied(source, target, "--dry-run").out.splitlines() if line.startswith("limits")]
    told = result_of(copied(source, target, "--dry-run", "--json", *limits))
    assert (told["rate_keys_per_second"], told["bandwidth_bytes_per_second"]) == (20, 10 << 20)
    assert told["max_source_latency_ms"] == 7.5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--rate", "0"), "keys a second, like 20000"),
        (("--rate", "20k"), "keys a second, like 20000"),
        (("--rate", "1.5"), "keys a second, like 20000"),
        (("--bandwidth", "0"), "like 10mb or 10m"),
        (("--bandwidth", "10mbit"), "like 10mb or 10m"),
        (("--bandwidth", "10mb/s"), "like 10mb or 10m"),
        (("--max-source-latency", "5"), "5ms is milliseconds"),
        (("--max-source-latency", "0ms"), "like 5ms"),
        (("--max-source-latency", "fast"), "like 250ms, 5s"),
    ],
)
def test_a_wrong_limit_is_refused_with_the_right_form(words: tuple[str, str], says: str) -> None:
    ran = run_keyferry("replicate", "localhost:1", "localhost:2", *words)
    assert ran.code == 2
    assert words[0] in ran.err and says in ran.err


@pytest.mark.soak
@pytest.mark.parametrize(
    ("keys", "size", "words", "share"),
    [
        (200_000, 100, ("--rate", "20000"), 20_000),
        (5_000, 100, ("--rate", "500"), 500),
        (100_000, 1_000, ("--bandwidth", "10mb"), 10 << 20),
        (2_000, 50_000, ("--bandwidth", "10mb"), 10 << 20),
    ],
)
def test_a_limit_is_met_within_a_tenth(
    keys: int, size: int, words: tuple[str, str], share: int, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, keys, size)
    told = result_of(copied(source, target, *words, "--workers", "2", "--json"))
    reached = told["keys_per_second" if words[0] == "--rate" else "bytes_per_second"]
    assert 0.9 * share <= reached <= 1.1 * share


def test_a_slow_copy_tells_how_far_it_is_before_a_whole_reply_of_scan_is_copied(server: ServerFactory) -> None:
    """Each lane has some hundred keys of one reply before it; at this rate the first one is through after 16 s."""
    source, target = server("7.0"), server("9.1")
    write_strings(source, 20_000)
    with start_keyferry(*at(source), "replicate", *at(target), "--rate", "500", "--progress", "json") as run:
        wait_until(lambda: has_told_some(run.err))
        assert run.running and target.call("DBSIZE") < 8_000
        run.signal(signal.SIGINT)
        ran = run.wait()
    assert ran.code == 128 + signal.SIGINT


def has_told_some(said: str) -> bool:
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{") and line.endswith("}")]
    return any(line["keys"] > 500 and line["keys_per_second"] > 100 for line in lines)


def test_what_a_dead_worker_had_half_done_is_counted_once(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 6_000)
    with start_keyferry(*at(source), "replicate", *at(target), "--rate", "1000", "--json") as run:
        while target.call("DBSIZE") < 3_000:
            assert run.running
        os.kill(worker_pids(run.pid)[0], signal.SIGKILL)
        ran = run.wait()
    told = result_of(ran)
    assert (told["keys"], told["read"], told["exact"], told["exit_code"]) == (6_000, 6_000, True, 0)
    assert_equal(source, target)
