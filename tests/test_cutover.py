"""The coordinator's part of a live copy, apart from servers: the end of it, and what is found too much on the way."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keyferry.crew import Worker
from keyferry.cutover import CutOver
from keyferry.executors import Seat
from keyferry.live import FIRST_TASK, MARKED_BYTES, Live
from keyferry.workers.cursor import RING
from keyferry.workers.dirty import Dirtied
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.feed import Feed
from keyferry.workers.feed_conn import PING
from keyferry.workers.feed_task import FeedSetup
from keyferry.workers.finding import ONLY_TARGET, Finding
from keyferry.workers.listener import Listener, Owner
from keyferry.workers.news import Counts, Progress
from keyferry.workers.pipe import Pipe
from keyferry.workers.setup import Node
from keyferry.workers.task import LIST_TYPE, Task
from tests.support.live_parts import finish_tasks, live_copy

EXTRA = Finding(b"extra", 0, 0, 0, ONLY_TARGET)


def pass_fences(live: Live) -> None:
    """Every fence is passed at once, and the feed is heard."""

    def fence() -> int:
        number = len(live.feeding.passed) + 1
        live.feeding.passed[number] = time.monotonic()
        return number

    live.feeding.fence = fence  # type: ignore[method-assign]


def cutting(silent: int = 0) -> tuple[Live, Any, CutOver]:
    """A live copy that is to end, of a source that tells so many calls of commands that change streams silently."""
    live, run = live_copy()
    pass_fences(live)
    live.silent.copied_at = live.feeding.told.silent = silent
    return live, run, CutOver(live, asked=False)


def turn(cut: CutOver, run: Any, times: int = 5) -> bool:
    """Whether it is done after so many turns, before each of which the feed was heard; nobody does the tasks."""
    for _ in range(times):
        cut.live.feeding.told.made_at = time.monotonic()
        if not (cut.done or cut.failed):
            cut.turn(run)
    return cut.done


# ---- what has to be settled -----------------------------------------------------------------------------------------


def test_it_waits_until_all_that_came_before_the_fence_is_settled() -> None:
    live, run, cut = cutting()
    before = time.monotonic()
    live.generations.gathered.append(Dirtied(0, [b"a"], before, before))
    assert not turn(cut, run)
    live.generations.raise_barrier(["worker"])
    assert not turn(cut, run)
    live.generations.passed("worker", live.generations.barrier, [])
    (number,) = live.generations.dispatch(["worker"], 1, before)
    assert not turn(cut, run), "a window is open"
    live.generations.settled(number)
    assert turn(cut, run)


def test_it_waits_until_a_key_that_rests_is_copied_once_more() -> None:
    """The fence wakes it. It has to be read before it may rest again, and to be acknowledged before this is done."""
    live, run, cut = cutting()
    generations, before = live.generations, time.monotonic()
    generations.slow.rests(0, b"a", 60.0, before)
    generations.gathered.append(Dirtied(0, [b"a"], before, before))
    assert not generation_of(live)
    assert not turn(cut, run), "it rests"
    generations.begin(["worker"], time.monotonic())
    assert not turn(cut, run), "its barrier is under way"
    generations.passed("worker", generations.barrier, [])
    (number,) = generations.dispatch(["worker"], 1, time.monotonic())
    assert not turn(cut, run), "its window is open"
    generations.settled(number)
    assert turn(cut, run) and not generations.slow.hurry


def generation_of(live: Live) -> list[int]:
    """The tasks of a generation whose barrier is passed at once."""
    live.generations.begin(["worker"], time.monotonic())
    live.generations.passed("worker", live.generations.barrier, [])
    return list(live.generations.dispatch(["worker"], 1, time.monotonic()))


def test_it_waits_until_the_feed_has_said_something_after_the_fence() -> None:
    live, run, cut = cutting()
    live.feeding.told.made_at = time.monotonic()
    for _ in range(5):
        cut.turn(run)
    assert not cut.done
    assert turn(cut, run)
    assert live.feeding.passed[1] <= cut.still_by <= live.feeding.passed[2] == cut.settled_at


def test_it_waits_for_names_that_the_feed_has_not_handed_out() -> None:
    live, run, cut = cutting()
    live.feeding.told.oldest = time.monotonic()
    assert not turn(cut, run)
    live.feeding.told.oldest = 0.0
    assert turn(cut, run)


def test_nothing_is_proved_before_every_window_is_closed() -> None:
    live, run, cut = cutting()
    assert turn(cut, run)
    live.cutting = cut
    assert live.over
    live.generations.held["worker", 7] = None  # type: ignore[assignment]  # a window that has left its barrier
    assert not live.over


def test_it_waits_for_what_a_dead_worker_had_until_that_is_copied_by_another() -> None:
    live, run, cut = cutting()
    before = time.monotonic()
    live.generations.gathered.append(Dirtied(0, [b"a"], before, before))
    generation_of(live)
    (entry,) = live.died("worker")  # type: ignore[arg-type]
    assert len(live.generations) == 1 and not (live.generations.idle or live.generations.landed)
    assert not turn(cut, run), "its connections are not killed yet"
    live.given_back(entry)
    assert not turn(cut, run), "it is dirty"
    (number,) = generation_of(live)
    assert not turn(cut, run), "a window is open"
    live.generations.settled(number)
    assert turn(cut, run) and live.generations.landed


def test_a_write_that_comes_meanwhile_ends_the_attempt() -> None:
    live, run, cut = cutting()
    live.feeding.told.oldest = time.monotonic()
    assert not turn(cut, run)
    live.activity_at = time.monotonic()
    turn(cut, run)
    assert cut.failed and not cut.done


def test_a_field_that_expires_meanwhile_does_not_where_the_source_counts_no_write() -> None:
    live, run, cut = cutting()
    live.feeding.told.still_since = cut.began_at
    live.activity_at = time.monotonic()
    assert turn(cut, run) and not cut.failed


# ---- streams --------------------------------------------------------------------------------------------------------


def copy_streams(cut: CutOver, run: Any, then_told: int) -> None:
    """All streams of the database are copied; meanwhile the source tells another count."""
    assert not turn(cut, run)
    assert [entry.task.kind for entry in run.ledger.waiting] == [LIST_TYPE]
    finish_tasks(run)
    cut.live.feeding.told.silent = then_told


def test_streams_that_have_not_changed_silently_are_not_copied_again() -> None:
    live, run, cut = cutting(silent=3)
    assert turn(cut, run) and run.ledger.finished and not live.silent.changed


def test_all_streams_are_copied_again_where_one_has_changed_silently_and_again_if_one_does_meanwhile() -> None:
    live, run, cut = cutting(silent=3)
    live.feeding.told.silent = 4
    copy_streams(cut, run, then_told=5)
    copy_streams(cut, run, then_told=5)
    assert turn(cut, run) and run.ledger.finished and not live.silent.changed


def test_streams_are_listed_by_another_where_a_worker_dies_that_was_to() -> None:
    live, run, cut = cutting(silent=3)
    live.feeding.told.silent = 4
    assert not turn(cut, run)
    finish_tasks(run)
    run.fence.holds_tasks = True
    assert not turn(cut, run), "a dead worker had the task"
    run.fence.holds_tasks = False
    assert turn(cut, run)


def test_a_worker_that_dies_while_so_many_streams_are_marked_that_no_more_are_looked_for() -> None:
    live, run, _ = cutting(silent=3)
    ours, theirs = socket.socketpair()
    worker = Worker(Seat(Pipe(ours, patience_s=1), None))
    live.generations.marked.bytes = MARKED_BYTES
    live.listed(worker, Task(0, LIST_TYPE), [b"stream"])
    worker.seat.close()
    live.died(worker)
    live.generations.marked.clear()
    live.feeding.turn = lambda room_bytes: []  # type: ignore[method-assign]
    live.turn(run)
    assert not live._owed, "no credit goes to the dead"
    theirs.close()


def test_where_the_source_does_not_tell_of_silent_changes_streams_are_copied_again_once() -> None:
    _, run, cut = cutting(silent=-1)
    copy_streams(cut, run, then_told=-1)
    assert turn(cut, run) and run.ledger.finished


# ---- what is a sign of a writer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counts", "writes"), [(Counts(copied=1), True), (Counts(expired=1), False)])
def test_only_an_event_of_a_key_that_exists_is_activity(counts: Counts, writes: bool) -> None:
    live, _ = live_copy()
    live.generations.gathered.append(Dirtied(0, [b"a"], 5.0, 5.0))
    live.generations.raise_barrier([])
    (number,) = live.generations.dispatch(["worker"], FIRST_TASK, 5.0)
    assert live.take_news(Progress(number, RING, counts, finished=True))
    assert (live.activity_at == 5.0) is writes


# ---- what is found too much at the target ---------------------------------------------------------------------------


def test_what_the_target_has_too_much_goes_the_way_of_all_changed_keys() -> None:
    live, _ = live_copy()
    live.add(EXTRA)
    assert len(live.generations.marked) == 1


def test_after_a_change_of_identity_it_does_so_when_all_of_it_is_counted() -> None:
    live, run = live_copy()
    live.removals.planning, live.removals.target_keys = True, 1000
    live.removals.settled(0, [b"a", b"b"], left=[b"b"])
    live.add(EXTRA)
    assert len(live.generations.marked) == 0
    live._end_planning(run, 1.0)
    (marked,) = live.generations.marked.take(1000)
    assert sorted(marked.keys) == [b"b", b"extra"]
    (order,) = run.crew.orders
    assert order.removes == run.setup.removes == [0]


def test_all_of_it_is_not_counted_while_a_dead_worker_has_a_part() -> None:
    live, run = live_copy()
    live.feeding.turn = lambda room_bytes: []  # type: ignore[method-assign]
    live.removals.planning, run.fence.holds_tasks = True, True
    live.turn(run)
    assert live.removals.planning
    run.fence.holds_tasks = False
    live.turn(run)
    assert not live.removals.planning


# ---- fences and sweeps ----------------------------------------------------------------------------------------------


@contextmanager
def feed_of(*ports: int) -> Iterator[Feed]:
    """A feed that is not connected to its sources."""
    ours, theirs = multiprocessing.Pipe()
    feed = Feed(ours, FeedSetup([Node(Endpoint(port=port)) for port in ports], [0]))
    try:
        yield feed
    finally:
        feed.close()
        theirs.close()


def test_a_fence_is_passed_once_every_master_has_passed_it() -> None:
    with feed_of(1, 2) as feed:
        first, second = (listener.owner for listener in feed.listeners)
        feed.fences[7] = 2
        first.passed(7)
        assert feed.report.fences == []
        second.passed(7)
        assert feed.report.fences == [7]


class Conn:
    """What a listener asks, and what is to be done with the replies; a look in full is answered by `answers`."""

    ready = True

    def __init__(self, *answers: bytes | None) -> None:
        self.asked: list[tuple[bytes, Callable[[], None]]] = []
        self.answers = answers

    def ask(self, request: bytes, count: int, told: Callable[[list], None]) -> None:
        replies = list(self.answers) if count == len(self.answers) else [None] * count
        self.asked.append((request, lambda: told(replies)))


def test_a_fence_is_passed_when_a_look_is_answered_that_was_asked_for_after_its_second_ping() -> None:
    passed: list[int] = []
    later: list[tuple[float, Callable[[], None]]] = []
    owner = Owner(_nothing, lambda *what: later.append(what), passed.append, _nothing)
    listener = Listener(0, FeedSetup([Node(Endpoint())], [0]), owner)
    conn: Any = Conn()
    listener.conn, listener.confirmed = conn, True
    listener.fence(7)
    seen = []
    while conn.asked and not passed:
        request, answer = conn.asked.pop(0)
        seen.append("PING" if request == PING else "look")
        answer()
        if later:
            pause_s, again = later.pop(0)
            seen.append(f"{pause_s:g} s")
            again()
    assert seen == ["look", "PING", "0.1 s", "PING", "look"] and passed == [7]


@pytest.mark.parametrize(
    ("loading", "keyspace", "sizes"),
    [
        (b"0", b"# Keyspace\r\ndb0:keys=7,expires=0,avg_ttl=0\r\n", {0: 7}),
        (b"1", b"# Keyspace\r\ndb0:keys=7,expires=0,avg_ttl=0\r\n", None),
        (b"0", b"# Keyspace\r\n", {}),
        (b"0", b"", None),
    ],
    ids=["loaded", "loading", "empty", "not told"],
)
def test_a_part_of_a_data_set_that_is_being_loaded_is_no_size_of_the_source(
    loading: bytes, keyspace: bytes, sizes: dict[int, int] | None
) -> None:
    """What has shrunk by more since the last size that was told ends the run, before its keys are removed."""
    listener = Listener(0, FeedSetup([Node(Endpoint())], [0]), Owner(_nothing, _nothing, _nothing, _nothing))
    conn: Any = Conn(b"loading:%b\r\n" % loading, None, None, None, None, keyspace)
    listener.conn = conn
    listener._look(True, _nothing)
    conn.asked[0][1]()
    assert listener.sizes == sizes


def _nothing(*_: object) -> None: ...


def test_a_sweep_waits_until_every_source_is_listened_to() -> None:
    live, run = live_copy()
    live.feeding.told.confirmed = False
    live.sweeps.gap("a test")
    live.sweeps.turn(run, 1e9)
    live.sweeps.turn(run, 1e9)
    assert not run.crew.orders and run.ledger.finished
    live.feeding.told.confirmed = True
    live.sweeps.turn(run, 1e9)
    live.sweeps.turn(run, 1e9)
    assert run.crew.orders
