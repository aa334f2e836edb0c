"""What ends a run from outside: signals end it in order, and the death of a worker does not end it at all."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill_large
from tests.support.paces import LESS_SLOWLY, SLOWLY, wait_for_keys
from tests.support.processes import Run, children_of, start_command, start_keyferry, worker_pids
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of

KEYS = 20_000


@contextmanager
def copying(source: Server, target: Server, *words: str, pace: tuple[str, ...] = SLOWLY) -> Iterator[Run]:
    """A copy that has begun to write, and has a while to go."""
    with start_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), *pace, *words) as run:
        wait_for_keys(target, run)
        yield run


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda n: str(n)
)
def test_the_first_signal_ends_a_copy_in_order(number: int, code: int, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with copying(source, target, "--json") as run:
        run.signal_all(number)
        ran = run.wait()
    assert ran.code == code, ran.err
    assert not ran.left
    told = result_of(ran)
    assert 0 < told["keys"] < KEYS
    # What was on its way was finished. Keys at the borders of ranges are counted by one side only.
    assert told["keys"] <= target.call("DBSIZE") <= told["keys"] * 1.05 + 50


def test_a_second_signal_ends_it_at_once(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with copying(source, target) as run:
        target.pause()
        try:
            run.signal_all(signal.SIGINT)
            run.wait_for_text("stopping")
            began = time.monotonic()
            run.signal_all(signal.SIGINT)
            ran = run.wait(40)
        finally:
            target.resume()
    assert ran.code == 130
    assert not ran.left
    assert time.monotonic() - began < 40  # a silent target is given up after a minute


def test_nohup_lets_a_copy_outlive_its_terminal(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as nohup does it
    try:
        with copying(source, target, pace=LESS_SLOWLY) as run:
            run.signal_all(signal.SIGHUP)
            ran = run.wait()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ran.code == 0, ran.err
    assert_equal(source, target)


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_a_worker_killed_with_9_costs_nothing(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill_large(source, KEYS)
    with copying(source, target, "--json", pace=LESS_SLOWLY) as run:
        for _ in range(2):
            os.kill(worker_pids(run.pid)[0], signal.SIGKILL)
            time.sleep(0.2)
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert "a worker died" in ran.err
    assert not ran.left
    assert result_of(ran)["keys"] == KEYS
    assert_equal(source, target)


def test_a_worker_that_is_silent_for_too_long_counts_as_dead(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    script = f"""
import keyferry
summary = keyferry.replicate({source.uri!r}, {target.uri!r}, silence_s=2, progress="log", batch=8, workers=2, rate=4000)
print(summary.counts.copied)
"""
    with start_command(sys.executable, "-c", script) as run:
        wait_for_keys(target, run)
        os.kill(worker_pids(run.pid)[0], signal.SIGSTOP)
        run.wait_for_text("silent for")
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert int(ran.out) == KEYS
    assert_equal(source, target)


def test_a_killed_coordinator_leaves_no_process_behind(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with copying(source, target) as run:
        assert children_of(run.pid)
        run.signal(signal.SIGKILL)
        ran = run.wait()
    assert ran.code == -signal.SIGKILL
    assert not ran.left


class Poisoned(Hooks):
    """Whoever reads the poisoned key is killed, as if by the machine's own out-of-memory killer."""

    def __init__(self) -> None:
        self.kill: Callable[[], None] = lambda: None

    def on_command(self, args: Args) -> Answer:
        # Only the first command about it: by the next one, its worker is gone, and another one's turn has come.
        if args[0] in (b"MGET", b"GET", b"DUMP") and b"poison" in args[1:]:
            self.kill()
        return args


@pytest.mark.parametrize("keys", [2_000, 25_000])
def test_a_key_that_kills_its_workers_is_found_and_put_aside(keys: int, server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, keys, typed=1_000)
    source.call("SET", "poison", "x")
    listed = tmp_path / "aside.jsonl"
    poisoned = Poisoned()
    words = ("--put-aside", str(listed), "--json", "--workers", "1")
    with Proxy(source, poisoned) as proxy:
        with start_keyferry("-p", str(proxy.port), "replicate", "-p", str(target.port), *words) as run:
            poisoned.kill = lambda: [os.kill(pid, signal.SIGKILL) for pid in worker_pids(run.pid)] and None
            ran = run.wait()
    assert ran.code == 1, ran.err
    assert result_of(ran)["put_aside"] == 1, listed.read_text() + ran.err
    assert json.loads(listed.read_text())["key"] == "poison"
    source.call("DEL", "poison")
    assert_equal(source, target)


def test_a_key_that_kills_those_who_compare_it_is_repaired_where_its_database_leads(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "poison", "x")
    poisoned = Poisoned()
    words = ("--db-map", "0:5", "--repair", "--workers", "1")
    with Proxy(source, poisoned) as proxy:
        with start_keyferry("-p", str(proxy.port), "compare", "-p", str(target.port), *words) as run:

            def kill() -> None:
                if "it is put aside" not in run.err:
                    for pid in worker_pids(run.pid):
                        os.kill(pid, signal.SIGKILL)

            poisoned.kill = kill
            ran = run.wait()
    assert "it is put aside" in ran.err
    assert (all_keys(target, 0), all_keys(target, 5)) == (set(), {b"poison"})
    assert ran.code == 0, ran.err
