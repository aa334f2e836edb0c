"""One pass of a live copy, apart from servers: what it may remove, and how long it stands what was proved."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from keyferry.cutover import CutOver
from keyferry.following import LOST, WRITTEN, Following, Parts
from keyferry.grammar import from_python
from keyferry.live_memory import Memory
from keyferry.logs import ERROR, Log
from keyferry.partitioners.server import Server
from keyferry.planning import Survey
from keyferry.signals import Signals
from keyferry.survey import Controls
from keyferry.sweeps import SWEEPS_MAX
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import NotConverged
from keyferry.workers.feed_task import TRACKING, FeedReport
from keyferry.workers.news import Counts
from keyferry.workers.setup import Node, Setup
from keyferry.workers.task import COPY_RANGE, LOOK_UP, Task

# ---- what it may remove ---------------------------------------------------------------------------------------------


def a_pass(
    target_keys: dict[int, int],
    keys: int = 1000,
    again: bool = False,
    memory: Memory | None = None,
    run_id: str = "",
    **more: Any,
) -> Following:
    """The databases of one server go to those of another, which hold so many keys; `again`: it is not the first pass.

    `run_id`: the source's, where it tells who it is.
    """
    options = from_python("replicate", ["redis://h", "redis://h"], live=True, **more).options
    plan: Any = SimpleNamespace(
        databases=[SimpleNamespace(db=db, target_db=db, keys=keys, scope=(0, db)) for db in target_keys],
        survey=Survey(
            [Server(Endpoint(), "source", run_id=run_id, replid=run_id)], [], target_sizes=target_keys, flags=[""]
        ),
        setup=Setup([Node(Endpoint())], [Node(Endpoint())]),
        tasks=lambda: [Task(0, COPY_RANGE)],
        feed=TRACKING,
        again=again,
    )
    parts: Any = SimpleNamespace(options=options, log=Log(ERROR), memory=memory or Memory())
    return Following(plan, Controls([], []), parts)


def test_keys_may_go_in_databases_that_were_empty_at_the_start() -> None:
    assert a_pass({0: 0, 1: 5, 7: 0}).setup.removes == [0, 7]
    assert a_pass({0: 0, 1: 5, 7: 0}, prune=True).setup.removes == [0, 1, 7]


def test_what_was_empty_at_the_start_is_remembered_by_the_passes_that_follow() -> None:
    memory = Memory()
    a_pass({0: 0, 1: 5}, memory=memory)
    assert a_pass({0: 1000, 1: 0}, again=True, memory=memory).removals.allowed == {0}


def test_keys_may_go_in_databases_that_appear_where_these_are_empty_then() -> None:
    memory = Memory()
    a_pass({0: 0}, memory=memory)
    assert a_pass({0: 1000, 1: 0, 2: 5}, again=True, memory=memory).removals.allowed == {0, 1}
    memory.allowed.clear()  # others write to the target
    assert a_pass({0: 1000, 1: 0, 2: 5, 3: 0}, again=True, memory=memory).removals.allowed == set()


def test_after_a_change_of_identity_nothing_is_removed_before_it_is_counted() -> None:
    memory = Memory()
    assert not a_pass({0: 0}, memory=memory).removals.planning
    later = a_pass({0: 1000}, again=True, memory=memory)
    assert later.removals.planning and later.removals.target_keys == 1000
    assert later.setup.removes == []
    later.live.field.lookups = lambda: [Task(0, COPY_RANGE, work=LOOK_UP)]
    assert [task.work for task in later._first_tasks()] == ["copy", "look up"]


def test_with_prune_nothing_has_to_be_counted_so_no_names_are_kept_until_then() -> None:
    later = a_pass({0: 1000}, again=True, prune=True)
    assert not later.removals.planning and later.setup.removes == [0]
    later.live.field.lookups = lambda: [Task(0, COPY_RANGE, work=LOOK_UP)]
    assert [task.work for task in later._first_tasks()] == ["copy", "look up"]


def test_where_the_servers_are_the_same_nothing_was_lost_between_two_passes() -> None:
    memory = Memory()
    a_pass({0: 0}, keys=1000, memory=memory, run_id="a")
    later = a_pass({0: 1000, 1: 0}, keys=500, again=True, memory=memory, run_id="a")
    assert not later.removals.planning and later.setup.removes == [0, 1]
    later.live.field.lookups = lambda: [Task(0, COPY_RANGE, work=LOOK_UP)]
    assert [task.work for task in later._first_tasks()] == ["copy", "look up"]
    with pytest.raises(NotConverged, match="database 0 has 100 keys now, not 500"):
        a_pass({0: 500}, keys=100, again=True, memory=memory, run_id="b")


def test_a_source_that_has_shrunk_since_the_pass_before_ends_the_run() -> None:
    memory = Memory()
    a_pass({0: 0}, keys=1000, memory=memory)
    with pytest.raises(NotConverged, match="database 0 has 800 keys now, not 1,000: nothing was removed"):
        a_pass({0: 1000}, keys=800, again=True, memory=memory)
    a_pass({0: 1000}, keys=800, again=True, memory=memory, prune=True)


def test_the_longest_lag_is_that_of_all_passes() -> None:
    memory = Memory()
    a_pass({0: 0}, memory=memory).live.lag.most = 5.0
    later = a_pass({0: 1000}, again=True, memory=memory)
    later._describe()
    assert later.result.lag_max_s == 5.0


# ---- how long it stands what was proved -----------------------------------------------------------------------------


class Feed:
    """A feed whose fences are passed at once. Of what happens (`happened`) it knows when the next one is."""

    def __init__(self) -> None:
        self.told = FeedReport(confirmed=True, silent=0)
        self.passed: dict[int, float] = {}
        self.cpu_s, self.events = 0.0, 0
        self.happened: Callable[[], None] = lambda: None

    def begin(self) -> None:
        self.told.still_since = time.monotonic()

    def fence(self) -> int:
        happened, self.happened = self.happened, lambda: None
        happened()
        number = len(self.passed) + 1
        self.passed[number] = time.monotonic()
        return number

    def end(self) -> None: ...


def proved(
    meanwhile: Callable[[Following, Feed], None], asked: bool = False, equal: bool = True, times: int = 1, **more: Any
) -> tuple[Following, int]:
    """A pass during whose first verification something happens, or first `times`; and how often it was verified."""
    one, feed, verified = a_pass({0: 0}, **more), Feed(), 0
    one.live.feeding = one.live.silent.feeding = feed  # type: ignore[assignment]
    one.live.asked = asked

    def follow(*_: Any) -> Any:
        def run() -> None:
            one.live.sweeps._wanted = False
            one.live.silent.copied_at = feed.told.silent
            one.live.cutting = one.live.cutting or CutOver(one.live, asked)
            cut = one.live.cutting
            cut.still_by = cut.settled_at = cut.settled_at or time.monotonic()

        return SimpleNamespace(run=run, state=SimpleNamespace(counts=Counts(), seconds=1.0), cpu_s=0.0, signal=0)

    def verify(_: Any) -> tuple[bool, int]:
        nonlocal verified
        verified += 1
        assert verified < 5, "it goes round in circles"
        if verified <= times:
            feed.happened = partial(meanwhile, one, feed)
        return equal, 0

    with Signals() as signals:
        one.parts = Parts(
            one.parts.options, one.parts.log, signals, one.parts.memory, follow, verify, check=lambda: None
        )
        one.run()
    return one, verified


def nothing(one: Following, feed: Feed) -> None:
    """No event comes, and the source is still."""


def a_write(one: Following, feed: Feed) -> None:
    feed.told.still_since = 0.0
    one.live.activity_at = time.monotonic()


def a_write_of_before(one: Following, feed: Feed) -> None:
    """Its event came after the cut-over had begun, and it was settled in it."""
    feed.told.still_since = 0.0
    one.live.activity_at = one.live.cutting.settled_at  # type: ignore[union-attr]


def a_write_told_of_behind_the_look(one: Following, feed: Feed) -> None:
    """The second fence's last look has counted it, and its event came when all was settled."""
    feed.told.still_since = one.live.cutting.settled_at  # type: ignore[union-attr]
    one.live.cutting.still_by -= 0.1  # type: ignore[union-attr]
    one.live.activity_at = time.monotonic()


def an_expiry(one: Following, feed: Feed) -> None:
    """The source changes, and what an event names is gone."""
    feed.told.still_since = 0.0


def a_silent_change_of_a_stream(one: Following, feed: Feed) -> None:
    feed.told.silent += 1


def a_gap(one: Following, feed: Feed) -> None:
    one.live.sweeps.gap("a test")


@pytest.mark.parametrize(
    ("meanwhile", "times"),
    [
        (nothing, 1),
        (an_expiry, 1),
        (a_write_of_before, 1),
        (a_write, 2),
        (a_write_told_of_behind_the_look, 2),
        (a_silent_change_of_a_stream, 2),
        (a_gap, 2),
    ],
)
def test_what_happens_while_it_is_verified_is_verified_again(
    meanwhile: Callable[[Following, Feed], None], times: int
) -> None:
    one, verified = proved(meanwhile)
    assert verified == times
    assert one.result.converged


def test_what_differs_is_compared_again_once_where_it_is_to_be_mended() -> None:
    for repair, times in ((False, 1), (True, 2)):
        one, verified = proved(nothing, equal=False, repair=repair)
        assert (verified, one.result.converged) == (times, False)


def test_after_a_signal_a_gap_while_it_is_verified_is_made_good_a_few_times() -> None:
    one, verified = proved(a_gap, asked=True)
    assert (verified, one.result.converged) == (2, True)
    one, verified = proved(a_gap, asked=True, times=SWEEPS_MAX)
    assert (verified, one.result.reason, one.result.converged) == (SWEEPS_MAX, LOST, False)


def test_after_a_signal_a_write_while_it_is_verified_leaves_it_unproved() -> None:
    one, verified = proved(a_write, asked=True)
    assert (verified, one.result.reason, one.result.converged) == (1, WRITTEN, False)
