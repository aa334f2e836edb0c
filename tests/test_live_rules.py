"""What decides in a live copy, apart from servers: sweeps, removals, the choice of a feed, lags."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.crew import Worker
from keyferry.feed_choice import choose, with_ours
from keyferry.lag import Lag
from keyferry.live import Live
from keyferry.live_memory import Memory
from keyferry.live_result import LiveResult
from keyferry.partitioners.server import Database, Server
from keyferry.plans import Survey
from keyferry.removals import Removals, refuse_what_has_shrunk
from keyferry.sweeps import SWEEPS_MAX
from keyferry.workers.dirty import Dirtied
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import NotConverged, RefusedError
from keyferry.workers.feed_task import NOTIFICATIONS, TRACKING
from keyferry.workers.setup import Setup
from tests.support.live_parts import finish_tasks, live_copy

# ---- sweeps ---------------------------------------------------------------------------------------------------------


def test_a_sweep_reads_nothing_before_every_window_of_before_is_closed() -> None:
    live, run = live_copy()
    live.sweeps.gap("a test")
    live.sweeps.turn(run, 1e9)
    live.sweeps.turn(run, 1e9)
    (order,) = run.crew.orders
    assert order.barrier and run.ledger.finished
    live.generations.passed("worker", order.barrier, [[7, 0, [b"a"]]])  # a window is stuck, and leaves the barrier
    live.generations.dispatch(["worker"], 1, 1.0)
    for _ in range(3):
        live.sweeps.turn(run, 1e9)
    assert run.ledger.finished, "it would be overtaken by the stuck window"
    live.generations.closed("worker", 7)
    run.fence.holds_tasks = True
    live.sweeps.turn(run, 1e9)
    assert run.ledger.finished, "a dead worker's bytes may still arrive"
    run.fence.holds_tasks = False
    live.sweeps.turn(run, 1e9)
    works = sorted(entry.task.work for entry in run.ledger.waiting)
    assert works == ["copy", "look up"]


def test_a_sweep_lasts_until_what_dead_workers_had_of_it_is_done() -> None:
    live, run = live_copy()
    live.sweeps.gap("a test")
    sweep(live, run, turns=2)
    run.fence.holds_tasks = True
    sweep(live, run)
    assert live.sweeps.under_way
    run.fence.holds_tasks = False
    sweep(live, run)
    assert not live.sweeps.under_way


def test_a_sweep_begins_where_generation_follows_generation() -> None:
    """Over a longer link the barrier of the next one is always under way, as long as the source is written to."""
    live, run = live_copy()
    worker = Worker(SimpleNamespace(send=lambda order: True))  # type: ignore[arg-type]
    run.crew.workers = [worker]
    live.feeding.turn = lambda room_bytes: [Dirtied(0, [b"a"], 1.0, 1.0)]  # type: ignore[method-assign]
    live.turn(run)
    live.sweeps.gap("a test")
    for _ in range(5):
        live.generations.passed(worker, live.generations.barrier, [])
        live.turn(run)
    assert sorted(entry.task.work for entry in run.ledger.waiting) == ["copy", "look up"]


def sweep(live: Live, run: Any, turns: int = 10, at: float = 1e9) -> None:
    """So many turns, at this time; before each the feed is heard, and after it the workers do what is to be done."""
    for _ in range(turns):
        live.feeding.told.made_at = at
        live.sweeps.turn(run, at)
        if barrier := live.generations.barrier:
            live.generations.passed("worker", barrier, [])
            live.generations.dispatch(["worker"], 1, 1.0)
        finish_tasks(run)


def test_gaps_that_follow_each_other_end_it_with_their_cause() -> None:
    live, run = live_copy()
    never_settled = SimpleNamespace(dirtied=Dirtied(0, [b"a"], 1.0, 1.0), due=1e9)
    live.generations.slow.known[0, b"a"] = never_settled
    for _ in range(SWEEPS_MAX):
        live.sweeps.gap("the feed was cut")
        sweep(live, run)
    live.sweeps.gap("the feed was cut")
    with pytest.raises(NotConverged, match="3 sweeps in a row, and events were lost again: the feed was cut"):
        sweep(live, run)


def test_a_settled_moment_between_gaps_is_a_new_beginning() -> None:
    live, run = live_copy()
    for _ in range(3 * SWEEPS_MAX):
        live.sweeps.gap("the feed was cut")
        sweep(live, run)
    assert live.sweeps.gaps == 3 * SWEEPS_MAX


def test_a_source_that_is_written_to_all_the_time_has_settled_moments_too() -> None:
    """There is always a key under way; but what waited at the end of a sweep is at the target some time later."""
    live, run = live_copy()
    for at in range(3 * SWEEPS_MAX):
        live.sweeps.gap("the feed was cut")
        live.generations.gathered = [Dirtied(0, [b"a"], 1e9 + at - 1, 1e9 + at - 1)]
        sweep(live, run, at=1e9 + at)
        live.generations.gathered = [Dirtied(0, [b"b"], 1e9 + at + 0.1, 1e9 + at + 0.1)]
        (of_the_sweep,) = live.generations.flights
        live.generations.settled(of_the_sweep)
        sweep(live, run, at=1e9 + at + 0.2)
        assert not live.generations.idle
    assert live.sweeps.gaps == 3 * SWEEPS_MAX


def test_what_waits_at_the_end_of_a_sweep_and_goes_on_waiting_is_no_settled_moment() -> None:
    live, run = live_copy()
    live.feeding.told.oldest = 1e9 - 1  # the feed has it, and there is no room for it
    for _ in range(SWEEPS_MAX):
        live.sweeps.gap("the feed was cut")
        sweep(live, run)
    live.sweeps.gap("the feed was cut")
    with pytest.raises(NotConverged):
        sweep(live, run)


def test_names_to_be_copied_again_that_found_no_room_are_a_gap() -> None:
    live, run = live_copy()
    live.generations.marked.most_bytes = 100
    live.generations.mark(0, [b"key:%d" % number for number in range(20)], 1.0)
    sweep(live, run)
    assert live.sweeps.gaps == 1
    sweep(live, run)
    assert live.sweeps.gaps == 1


def test_a_gap_after_late_writes_waits_as_long_as_a_command_may_take() -> None:
    live, run = live_copy()
    live.late_writes()
    assert live.sweeps.after >= time.monotonic() + live.timeout_s - 1
    live.sweeps.turn(run, live.sweeps.after - 1)
    assert not run.crew.orders
    live.sweeps.turn(run, live.sweeps.after + 1)
    live.sweeps.turn(run, live.sweeps.after + 1)
    assert run.crew.orders


# ---- removals -------------------------------------------------------------------------------------------------------


def test_after_a_change_of_identity_no_more_than_one_percent_is_removed() -> None:
    removals = Removals({0: 0}, {0}, prune=False, planning=True, target_keys=1000)
    assert removals.now == []
    removals.plan(0, [b"%d" % number for number in range(10)])
    removals.plan(0, [b"0", b"1"])  # the same again
    with pytest.raises(NotConverged, match="over 1% of the target's 1,000 keys would be removed: nothing was"):
        removals.plan(0, [b"one more"])


def test_what_was_planned_and_what_was_left_meanwhile_may_go_afterwards() -> None:
    removals = Removals({0: 0}, {0}, prune=False, planning=True, target_keys=1000)
    removals.plan(0, [b"a"])
    removals.settled(0, [b"b", b"c"], [b"b"])
    assert removals.planned().keys() == {0} and removals.now == [0]


@pytest.mark.parametrize(("prune", "now"), [(False, []), (True, [0, 1])])
def test_once_others_write_to_the_target_not_all_of_it_is_ours(prune: bool, now: list[int]) -> None:
    removals = Removals({0: 0, 1: 1}, {0, 1}, prune, ours={0})
    assert removals.lapse() and not removals.lapse()
    told = removals.told(Setup([], []))
    assert (told.removes, told.ours) == (now, [])


@pytest.mark.parametrize(("prune", "allowed"), [(False, {0, 3}), (True, {0, 1, 2, 3})])
def test_what_was_empty_when_the_run_began_to_fill_it_is_all_ours(prune: bool, allowed: set[int]) -> None:
    memory = Memory()
    memory.learn_targets({0: 0, 1: 1}, {0: 0, 1: 5}, prune)
    memory.learn_targets({0: 0, 1: 1, 2: 2, 3: 3}, {0: 9, 1: 5, 2: 1, 3: 0}, prune)
    assert (memory.allowed, memory.ours) == (allowed, {0, 3})


def test_of_more_keys_than_are_kept_no_exact_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyferry.removals.MOST_LEFT", 2)
    removals = Removals({0: 0}, set(), prune=False)
    removals.settled(0, [b"a", b"b"], [b"a", b"b"])
    assert not removals.more_left
    removals.settled(0, [b"c"], [b"c"])
    assert removals.more_left
    told = LiveResult(left=len(removals.left), more_left=removals.more_left)
    assert told.lines()[1].strip().startswith("over 2 keys are gone") and told.fields()["more_left"]
    assert LiveResult(left=2).lines()[1].strip().startswith("2 keys are gone")


@pytest.mark.parametrize(("now", "prune", "refused"), [(899, False, True), (901, False, False), (0, True, False)])
def test_a_source_that_has_shrunk_is_not_followed(now: int, prune: bool, refused: bool) -> None:
    if refused:
        with pytest.raises(NotConverged, match="database 0 has 899 keys now, not 1,000: nothing was removed"):
            refuse_what_has_shrunk({0: 1000}, {0: now}, prune)
    else:
        refuse_what_has_shrunk({0: 1000}, {0: now}, prune)


# ---- the choice of a feed -------------------------------------------------------------------------------------------


def survey(flags: str | None, *dbs: int) -> Survey:
    server = Server(Endpoint(), "source", databases={db: Database(1, 0) for db in dbs})
    found = Survey([server], [])
    found.flags.append(flags)
    return found


@pytest.mark.parametrize(
    ("flags", "held", "dbs", "options", "mode"),
    [
        ("", (0,), [0], {}, TRACKING),
        (None, (0,), [0], {}, TRACKING),
        ("AK", (0,), [0], {}, TRACKING),
        ("AK", (0, 1), [0], {}, NOTIFICATIONS),
        ("", (0, 1), [0], {}, TRACKING),
        ("AK", (0, 1), [0, 1], {}, NOTIFICATIONS),
        (None, (0, 1), [0, 1], {}, NOTIFICATIONS),
        ("", (0, 1), [0, 1], {"enable_notifications": True}, NOTIFICATIONS),
        ("", (0, 1), [0, 1], {"feed": TRACKING}, TRACKING),
        ("", (0, 1), [0, 1], {}, ""),
        ("K$", (0,), [0], {"feed": NOTIFICATIONS}, ""),
        ("g$lshzxeK", (0, 1), [0, 1], {"feed": NOTIFICATIONS}, ""),
        ("g$lshzxetK", (0, 1), [0, 1], {"feed": NOTIFICATIONS}, NOTIFICATIONS),
        ("AE", (0,), [0], {"feed": NOTIFICATIONS}, ""),
    ],
)
def test_the_feed_is_chosen_by_what_is_copied_and_what_the_source_tells(
    flags: str | None, held: tuple[int, ...], dbs: list[int], options: dict[str, Any], mode: str
) -> None:
    given = {"feed": "auto", "enable_notifications": False, "dbs": None} | options
    if mode:
        assert choose(survey(flags, *held), dbs, given) == mode
    else:
        with pytest.raises(RefusedError, match="notify-keyspace-events is"):
            choose(survey(flags, *held), dbs, given)


@pytest.mark.parametrize(("flags", "wanted"), [("", "AK"), ("Ex", "AKE"), ("AKE", "AKE"), ("mKg", "AKm")])
def test_flags_are_added_to_those_that_are_there(flags: str, wanted: str) -> None:
    assert with_ours(flags) == wanted


# ---- lag ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_the_share_of_lags_below_is_right_within_a_class(lags: list[float]) -> None:
    lag = Lag()
    for one in lags:
        lag.settled(Dirtied(0, [b"a"], 200.0 - one, 200.0), 200.0)
    assert lag.most == pytest.approx(max(lags))
    half = sorted(lags)[(len(lags) - 1) // 2]
    assert lag.below(0.5) >= min(half, lag.most) * 0.999
    assert lag.below(0.5) <= max(half * 1.26, 0.00101)
