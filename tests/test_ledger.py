"""The account of tasks: whatever order news and deaths come in, every key counts once and none is forgotten."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.ledger import DEATHS_TO_SPLIT, Ledger
from keyferry.workers.cursor import RING, tile
from keyferry.workers.news import Counts, Progress
from keyferry.workers.scan import Found
from keyferry.workers.segments import Segments
from keyferry.workers.task import COPY, COPY_KEYS, COPY_RANGE, Task

STEPS = 8  # acknowledgements that a range takes in these tests; each stands for one key


def ring_tasks(ranges: int) -> list[Task]:
    return [Task(j, COPY_RANGE, start=a, end=b, db_keys=1000) for j, (a, b) in enumerate(tile(ranges))]


def two_nodes() -> list[Task]:
    tasks = [replace(task, node=node) for task in ring_tasks(4) for node in (0, 1)]
    return [replace(task, id=number) for number, task in enumerate(tasks)]


def positions(task: Task) -> list[int]:
    """Where a task's acknowledgements come, up to its end."""
    width = RING // STEPS // 4
    return [p for p in range(width, RING + 1, width) if task.start < p <= task.end]


@settings(max_examples=200)
@given(st.data())
def test_every_key_is_counted_once_whatever_dies(data: st.DataObject) -> None:
    """Keys lie at fixed positions; a worker counts those that it passes, is killed at any moment, another goes on."""
    ledger = Ledger(ring_tasks(4))
    seen = 0
    while not ledger.finished:
        queue = ledger.suspects or ledger.waiting
        entry = queue.popleft()
        task = ledger.give(entry)
        for position in positions(task):
            if data.draw(st.integers(0, 4)) == 0 and entry.deaths < DEATHS_TO_SPLIT - 1:
                ledger.suspects.extend(ledger.take_back({task.id}, killed=True))
                break
            seen += 1
            ledger.acknowledge(Progress(task.id, position, Counts(copied=1), finished=position == task.end))
    assert ledger.total.copied == seen == STEPS * 4
    assert ledger.ranges == ledger.ranges_done


@settings(max_examples=200)
@given(st.data())
def test_a_later_run_goes_on_with_one_node_and_begins_again_with_the_other(data: st.DataObject) -> None:
    """The first run ends at any moment. What it acknowledged of the node that is kept is not read again."""
    ledger, seen = Ledger(two_nodes()), 0
    for _ in range(data.draw(st.integers(0, 8))):
        task = ledger.give(ledger.waiting.popleft())
        for position in positions(task)[: data.draw(st.integers(0, STEPS))]:
            seen += task.node == 0
            ledger.acknowledge(Progress(task.id, position, Counts(copied=1), finished=position == task.end))
    ledger.close([])
    later = Ledger(two_nodes())
    later.go_on(ledger, {0: 1})
    while not later.finished:
        task = later.give(later.waiting.popleft())
        for position in positions(task):
            seen += task.node == 1
            later.acknowledge(Progress(task.id, position, Counts(copied=1), finished=position == task.end))
    assert {scope: counts.copied for scope, counts in later.totals.items()} == {(0, 0): STEPS * 4, (1, 0): STEPS * 4}
    assert seen == STEPS * 4


def test_what_a_lane_tells_of_windows_beyond_its_position_is_not_counted_twice_by_the_run_that_goes_on() -> None:
    """The lane is told to stop when one reply of SCAN is copied, and half of the next one."""
    ledger = Ledger(ring_tasks(1))
    task = ledger.give(ledger.waiting.popleft())
    segments = Segments(task)
    for number in (1, 2):
        segment = segments.add(Found([b"%d" % key for key in range(10)], position=number << 60))
        segment.next_keys(10 // number)
        segment.open, segment.counts = 0, Counts(copied=10 // number)
    for news in segments.news(ended=True, finished=False, opaque="", all_of_them=True):
        ledger.acknowledge(news)
    assert ledger.total.copied == 15
    ledger.close([])
    (left,) = ledger.waiting
    assert (left.task.start, ledger.total.copied) == (1 << 60, 10)


def test_a_task_without_positions_begins_again_and_is_counted_once() -> None:
    ledger = Ledger([])
    ledger.add(Task(0, COPY_KEYS, keys=[b"a", b"b"]))
    task = ledger.give(ledger.waiting.popleft())
    ledger.acknowledge(Progress(task.id, 0, Counts(copied=1)))
    assert ledger.total.copied == 1
    (entry,) = ledger.take_back({task.id}, killed=True)
    assert ledger.total.copied == 0
    task = ledger.give(entry)
    ledger.acknowledge(Progress(task.id, RING, Counts(copied=2), finished=True))
    assert ledger.total.copied == 2
    assert ledger.finished


def test_news_of_a_pass_that_was_given_up_count_for_nothing() -> None:
    ledger = Ledger(ring_tasks(2))
    task = ledger.give(ledger.waiting.popleft())
    ledger.forget((0, 0), COPY)
    assert ledger.acknowledge(Progress(task.id, RING, Counts(copied=5), finished=True)) == []
    assert ledger.total.copied == 0
    assert ledger.finished


def test_a_task_that_kills_is_split_until_one_key_is_left() -> None:
    ledger = Ledger([])
    ledger.add(Task(0, COPY_KEYS, keys=[b"%d" % n for n in range(100)]))
    entry = ledger.waiting.popleft()
    steps = 0
    while len(entry.task.keys) > 1:
        ledger.split(entry, entry.task.keys)
        halves = [ledger.suspects.popleft(), ledger.suspects.popleft()]
        entry = next(half for half in halves if b"42" in half.task.keys)
        # One more death splits a part; a single key has to kill three times itself.
        assert entry.deaths == (DEATHS_TO_SPLIT - 1 if len(entry.task.keys) > 1 else 0)
        steps += 1
    assert entry.task.keys == [b"42"]
    assert steps <= 7


def test_a_split_range_is_covered_by_its_halves() -> None:
    ledger = Ledger(ring_tasks(4))
    entry = ledger.waiting[1]
    ledger.split(entry, None)
    first, second = ledger.suspects
    assert (first.task.start, second.task.end) == (entry.task.start, entry.task.end)
    assert first.task.end == second.task.start
