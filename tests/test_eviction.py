"""Caches near their maxmemory: a copy makes no source evict a key, and says so where keys were evicted all the same."""

from __future__ import annotations

import random
import time
from collections import deque
from contextlib import ExitStack
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.eviction import LEAST_BYTES, MOST_BYTES, Watch, unread_bytes
from keyferry.partitioners.topology import describe
from keyferry.workers.adapt import Meter
from keyferry.workers.budget import Budget, fitting
from keyferry.workers.choose import Chooser
from keyferry.workers.lane import Lane
from keyferry.workers.task import COPY_KEYS, Task
from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import assert_equal
from tests.support.control import control_of
from tests.support.filling import write_strings
from tests.support.processes import run_keyferry
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of
from tests.support.window_loop import Loop

MB = 1 << 20
RANDOM = random.Random(1)  # what a server cannot compress


def limit(server: Server, free_bytes: int) -> None:
    """From now on the server evicts any key when it needs more than `free_bytes` besides what it needs now."""
    server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server.call("CONFIG", "SET", "maxmemory", int(server.info("memory")["used_memory"]) + free_bytes)


def evicted(server: Server) -> int:
    return int(server.info("stats")["evicted_keys"])


# ---- what is there to lose ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_a_cache_near_its_limit_loses_no_key_by_being_copied(kind: str, server: ServerFactory) -> None:
    source, target = server(kind, fresh=True), server(kind, fresh=True)
    write_strings(source, 60_000, 500)
    limit(source, 2 * MB)
    copied(source, target, "--workers", "2")
    assert evicted(source) == 0
    assert source.call("DBSIZE") == target.call("DBSIZE") == 60_000


@pytest.mark.parametrize("method", ["auto", "dump"])
def test_large_values_between_small_ones_are_not_asked_for_together(method: str, server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0", fresh=True)
    write_strings(source, 20_000, 100)
    with source.connect() as connection:
        connection.pipeline(("SET", f"large:{n}", RANDOM.randbytes(MB)) for n in range(100))
    limit(source, 6 * MB)
    copied(source, target, "--workers", "2", "--method", method)
    assert evicted(source) == 0
    assert_equal(source, target)


def test_collections_of_unknown_size_are_not_asked_for_together(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0", fresh=True)
    with source.connect() as connection:
        connection.pipeline(("RPUSH", f"list:{n}", *(RANDOM.randbytes(1000) for _ in range(200))) for n in range(400))
    limit(source, 4 * MB)
    copied(source, target, "--workers", "2", "--batch", "10000")
    assert evicted(source) == 0
    assert_equal(source, target)


class LosesRoom(Hooks):
    """Stands before the target. When the first worker arrives, the source is given less memory than it needs."""

    def __init__(self, source: Server) -> None:
        self.source = source
        self.done = False

    def on_command(self, args: Args) -> Answer:
        if not self.done and args[:2] == [b"CLIENT", b"SETNAME"] and b"control" not in args[2]:
            self.done = True
            limit(self.source, -300_000)
        return args


# ---- what was lost all the same ----------------------------------------------------------------------------


@pytest.mark.covers("accept-eviction")
@pytest.mark.parametrize(("words", "code"), [((), 1), (("--accept-eviction",), 0)])
def test_a_source_that_evicts_meanwhile_forbids_0_unless_that_is_accepted(
    words: tuple[str, ...], code: int, server: ServerFactory
) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 20_000)
    with Proxy(target, LosesRoom(source)) as proxy:
        ran = run_keyferry(*at(source), "replicate", *at(proxy), "--json", *words)
    assert ran.code == code, ran.err
    assert result_of(ran)["evicted_at_source"] == evicted(source) > 0
    assert f"warning: the source evicted {evicted(source):,} keys meanwhile" in ran.err


def test_a_target_that_evicts_forbids_0(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 20_000)
    limit(target, MB)
    ran = run_keyferry(*at(source), "replicate", *at(target), "--accept-eviction")
    assert ran.code == 1, ran.err
    assert f"evicted meanwhile: 0 at the source · {evicted(target):,} at the target" in ran.out
    assert f"warning: the target evicted {evicted(target):,} keys meanwhile\nhint: raise its maxmemory" in ran.err


# ---- the budget --------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 36), st.integers(0, 1 << 36), st.integers(0, 100))
def test_the_budget_is_a_quarter_of_what_is_free_and_64_mb_at_most(maxmemory: int, used: int, halvings: int) -> None:
    budget = unread_bytes(maxmemory, used, halvings)
    assert LEAST_BYTES <= budget <= MOST_BYTES
    if maxmemory:
        assert budget <= max(LEAST_BYTES, (maxmemory - used) // 4)
    assert unread_bytes(maxmemory, used, halvings + 1) <= budget


def test_keys_that_were_evicted_halve_the_budget_at_once(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 20_000)
    limit(source, 400 * MB)
    with ExitStack() as stack:
        controls = [stack.enter_context(control_of(*one)) for one in ((source, "source"), (target, "target"))]
        watch = Watch(*[[(control, describe(control))] for control in controls])
        assert watch.unread_bytes == [MOST_BYTES]
        limit(source, -100_000)
        source.call("SET", "one", "more")
        source.call("CONFIG", "SET", "maxmemory", 0)
        assert next(filter(None, map(look, repeat(watch)))) == [MOST_BYTES // 2]
    assert watch.keys == (evicted(source), 0)
    assert evicted(source) > 0


def look(watch: Watch) -> list[int] | None:
    time.sleep(0.01)
    return watch.look(time.monotonic())


@given(st.lists(st.integers(1, 3000), min_size=1), st.integers(1, 4))
def test_no_more_is_asked_for_than_the_share_and_everybody_has_a_turn(sizes: list[int], workers: int) -> None:
    budget = Budget(4000, workers)
    open_sizes: deque[int] = deque()
    left = deque(sizes)

    def go() -> None:
        while left and budget.take(left[0], go):
            open_sizes.append(left.popleft())

    go()
    while open_sizes:
        assert budget.asked == sum(open_sizes)
        assert budget.asked <= budget.limit or len(open_sizes) == 1
        budget.give(open_sizes.popleft())
    assert not left


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(1, 50), st.integers(1, 200))
def test_a_window_takes_as_many_keys_as_fit_and_at_least_one(sizes: list[int], keys: int, most: int) -> None:
    count, total = fitting(sizes, keys, most)
    assert 1 <= count <= keys and total == sum(sizes[:count])
    assert total <= most or count == 1
    assert count in (keys, len(sizes)) or sum(sizes[: count + 1]) > most


def test_a_giant_lets_the_next_sizes_be_asked_first_and_is_forgotten() -> None:
    chooser = Chooser("auto", 1000, Budget(MOST_BYTES, 2))
    assert chooser.sizes_first
    for _ in range(10):
        chooser.learn(1000, 1000, 100_000)
    assert (chooser.keys, chooser.sizes_first) == (1000, False)
    chooser.learn(1000, 1000, 10_000_000, largest=9_900_000)
    assert chooser.sizes_first
    for _ in range(200):
        chooser.learn(1000, 1000, 100_000)
    assert (chooser.keys, chooser.sizes_first) == (1000, False)


class Wavers(Chooser):
    """Wants sizes first, but for the moment after two windows."""

    learned = 0

    def learn(self, keys: int, strings: int, size: int, largest: int = 0) -> None:
        super().learn(keys, strings, size, largest)
        self.learned += 1
        self.sizes_first = self.learned != 2


def test_a_lane_that_opens_windows_while_it_is_told_sizes_takes_each_for_the_size_of_its_key(
    server: ServerFactory,
) -> None:
    """Taken for those of other keys, they would reach beyond the last one."""
    source, target = server("7.0"), server("7.0")
    names = [f"key:{number:02}" for number in range(22)]
    source.call("MSET", *[word for name in names for word in (name, "value")])
    loop = Loop(source, [target], owners=None)
    try:
        loop.run_until(lambda: loop.link.ready)
        task = Task(0, COPY_KEYS, keys=[name.encode() for name in names])
        lane = Lane(task, loop.link, Wavers("auto", 4, Budget(MOST_BYTES)), Meter(), 500, lambda lane: None)
        lane.go()
        loop.run_until(lambda: lane.ended)
        (news,) = lane.news()
    finally:
        loop.close()
    assert (news.finished, news.counts.copied, news.counts.retried) == (True, 22, 0)
    assert_equal(source, target)
