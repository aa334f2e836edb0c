"""The order of live copies: every dangerous interleaving is forced, and goes wrong where its rule is taken out.

What is tested is the real `Generations` and the real `Windows`, in the model of `tests/support/generations.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.generations import MOST_IN_FLIGHT_BYTES, Generations
from keyferry.slow_keys import REST
from keyferry.workers.dirty import Dirtied
from tests.support.generations import Model, Window

# ---- the interleavings ----------------------------------------------------------------------------------------------

A, B = b"a", b"b"


def bulk_write_after_a_live_write(model: Model) -> None:
    """bulk read → change → live read → live write → bulk write."""
    bulk = model.scan(0, A).read(model)
    model.change(A, "new")
    for live in model.generation():
        live.finish(model)
    bulk.finish(model)


def delete_in_flight(model: Model) -> None:
    """bulk read → delete → live removal → bulk write brings it back."""
    bulk = model.scan(0, A).read(model)
    model.change(A, None)
    for live in model.generation():
        live.finish(model)
    bulk.finish(model)


def rename_in_flight(model: Model) -> None:
    """bulk read of both names → rename → live → bulk write."""
    bulk = model.scan(1, A, B).read(model)
    model.change(B, model.source[A])
    model.change(A, None)
    for live in model.generation():
        live.finish(model)
    bulk.finish(model)


def expiry_in_flight(model: Model) -> None:
    """bulk read of a key in its last moment → it expires → live removal → bulk write."""
    model.source[A] = "in its last moment"
    bulk = model.scan(0, A).read(model)
    model.change(A, None)
    for live in model.generation():
        live.finish(model)
    bulk.finish(model)


def create_after_delete_in_flight(model: Model) -> None:
    """live read of a key that is gone → it is made again → live write → the removal."""
    model.change(A, None)
    (gone,) = model.generation()
    gone.read(model)
    model.change(A, "again")
    for live in model.generation():
        live.finish(model)
    gone.finish(model)


def two_generations_in_two_workers(model: Model) -> None:
    """a generation's read → change → the next one's read and write → the first one's write."""
    model.change(A, "one")
    (first,) = model.generation()
    first.read(model)
    model.change(A, "two")
    for live in model.generation():
        live.finish(model)
    first.finish(model)


def two_changes_in_one_read(model: Model) -> None:
    """change → generation → another change → its read sees both → a third one, read and written before."""
    model.change(A, "one")
    (first,) = model.generation()
    model.change(A, "two")
    first.read(model)
    model.change(A, "three")
    for live in model.generation():
        live.finish(model)
    first.finish(model)


def event_under_a_barrier(model: Model) -> None:
    """a barrier is under way → a window opens and reads → change → the window's write comes last."""
    blocking = model.scan(0, B).read(model)
    model.change(B, "new")
    model.turn()
    late = model.scan(1, A).read(model)
    model.change(A, "new")
    model.turn()
    blocking.finish(model)
    for live in model.generation():
        live.finish(model)
    late.finish(model)


def stuck_window(model: Model) -> None:
    """a window is stuck → its key changes → after a second others go on → the stuck write comes."""
    stuck = model.scan(0, A).read(model)
    model.change(A, "new")
    model.change(B, "new")
    model.turn()
    model.a_second_passes()
    for live in model.generation():
        live.finish(model)
    assert model.target.get(B) == "new"
    stuck.finish(model)


def stuck_window_of_a_deleted_key(model: Model) -> None:
    """a window is stuck → its key goes → after a second → the stuck write brings it back."""
    stuck = model.scan(1, A, B).read(model)
    model.change(A, None)
    model.turn()
    model.a_second_passes()
    for live in model.generation():
        live.finish(model)
    stuck.finish(model)


def stuck_window_under_a_later_barrier(model: Model) -> None:
    """a published window's key changes once more, two barriers later."""
    stuck = model.scan(0, A).read(model)
    model.change(B, "one")
    model.turn()
    model.a_second_passes()
    for live in model.generation():
        live.finish(model)
    model.change(A, "new")
    for live in model.generation():
        live.finish(model)
    stuck.finish(model)


def dead_worker_with_names(model: Model) -> None:
    """a worker dies with the names that it was given, before it has read them."""
    model.change(A, "new")
    model.change(B, "new")
    model.generation()
    for worker in (0, 1):
        model.kill(worker)
    model.fence()


def dead_worker_with_bytes_on_their_way(model: Model) -> None:
    """bulk read → the worker is given up → change, live write → its last bytes are executed → the fence."""
    model.scan(0, A).read(model)
    (ghost,) = model.kill(0)
    model.change(A, "new")
    for live in model.generation():
        live.finish(model)
    ghost.write(model)
    model.fence()


BARRIER = "a generation waits for its barrier"
HELD = "names are held back"
INTERLEAVINGS: dict[Callable[[Model], None], str] = {
    bulk_write_after_a_live_write: BARRIER,
    delete_in_flight: BARRIER,
    rename_in_flight: BARRIER,
    expiry_in_flight: BARRIER,
    create_after_delete_in_flight: BARRIER,
    two_generations_in_two_workers: BARRIER,
    two_changes_in_one_read: BARRIER,
    event_under_a_barrier: "an event is not added to the generation whose barrier is under way",
    stuck_window: HELD,
    stuck_window_of_a_deleted_key: HELD,
    stuck_window_under_a_later_barrier: HELD,
    dead_worker_with_names: "what a dead worker had is dirty again",
    dead_worker_with_bytes_on_their_way: "what a dead worker had waits for the fence",
}


def outcome(interleaving: Callable[[Model], None], without: str = "") -> tuple[dict[bytes, str], dict[bytes, str]]:
    model = Model({A: "old a", B: "old b"}, {A: "old a", B: "old b"}, without=without)
    interleaving(model)
    model.settle()
    return model.source, model.target


@pytest.mark.parametrize("interleaving", INTERLEAVINGS, ids=lambda one: one.__name__)
def test_both_sides_are_equal_after(interleaving: Callable[[Model], None]) -> None:
    source, target = outcome(interleaving)
    assert source == target


@pytest.mark.parametrize("interleaving", INTERLEAVINGS, ids=lambda one: one.__name__)
def test_without_its_rule_they_are_not(interleaving: Callable[[Model], None]) -> None:
    source, target = outcome(interleaving, without=INTERLEAVINGS[interleaving])
    assert source != target


# ---- any interleaving -----------------------------------------------------------------------------------------------

KEYS = [b"a", b"b", b"c"]
ACTIONS = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(KEYS), st.one_of(st.none(), st.text("xyz", min_size=1, max_size=2))),
    st.tuples(st.just("scan"), st.integers(0, 1), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(["read", "write", "ack"]), st.integers(0, 9)),
    st.tuples(st.sampled_from(["turn", "second", "kill0", "kill1", "fence"])),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ACTIONS, max_size=60))
def test_whatever_happens_both_sides_are_equal_in_the_end(actions: list[tuple]) -> None:
    model = Model(dict.fromkeys(KEYS, "old"), dict.fromkeys(KEYS, "old"))
    ghosts: list[Window] = []
    for action, *words in actions:
        _do(model, ghosts, action, words)
    model.fence()
    model.settle()
    assert model.source == model.target


def _do(model: Model, ghosts: list[Window], action: str, words: list) -> None:
    if action == "change":
        model.change(*words)
    elif action == "scan":
        if words[1] in model.source:
            model.scan(words[0], words[1])
    elif action == "turn":
        model.turn()
    elif action == "second":
        model.a_second_passes()
    elif action == "fence":
        ghosts.clear()
        model.fence()
    elif action.startswith("kill"):
        ghosts += [one for one in model.kill(int(action[-1])) if one.values is not None and not one.written]
    elif action == "write" and ghosts and words[0] > 5:
        ghosts.pop(0).write(model)  # bytes of the dead arrive
    else:
        _step(model, action, words[0])


def _step(model: Model, action: str, which: int) -> None:
    windows = [window for worker in model.workers for window in worker.open]
    window = windows[which % len(windows)] if windows else None
    if window is None:
        return
    if action == "read" and window.values is None:
        window.read(model)
    elif action == "write" and window.values is not None:
        window.write(model)
    elif action == "ack" and window.written:
        window.acknowledge(model)


# ---- bounds and slow keys -------------------------------------------------------------------------------------------


def test_no_more_is_given_out_than_the_bound() -> None:
    generations, workers = Generations(), ["one", "two"]
    given = 0
    for number in range(20_000):
        room = generations.room_bytes(2)
        if not room:
            break
        generations.gathered.append(Dirtied(0, [b"%d:%d" % (number, n) for n in range(500)], 1.0, 1.0))
        generations.begin(workers, 1.0)
        for worker in workers:
            generations.passed(worker, generations.barrier, [])
        given += len(generations.dispatch(workers, given + 1, 1.0))
    assert MOST_IN_FLIGHT_BYTES <= generations.in_flight_bytes < 2 * MOST_IN_FLIGHT_BYTES
    assert generations.begin(workers, 1.0) == 0


def test_a_name_that_changes_again_and_again_while_its_window_is_stuck_waits_once() -> None:
    """A window may be stuck for minutes: what it holds back must not grow with every write of the source."""
    generations = Generations()
    generations.passed("one", 1, [[7, 0, [A, B]]])
    for instant in (1.0, 2.0, 3.0):
        generations.again([Dirtied(0, [A], instant, instant), Dirtied(0, [A, B], instant, instant + 0.5)])
        assert generations.begin(["one"], instant)
        assert not generations.dispatch(["one"], 0, instant)
        assert len(generations) == 2
        assert (generations.oldest, generations.behind_since) == (1.0, 1.0)
    generations.closed("one", 7)
    assert generations.begin(["one"], 4.0)
    (flight,) = generations.dispatch(["one"], 0, 4.0).values()
    assert (sorted(flight.dirtied.keys), flight.dirtied.oldest, flight.dirtied.newest) == ([A, B], 1.0, 3.5)


def test_a_key_that_is_slow_to_copy_rests_and_is_copied_at_the_end() -> None:
    model = Model({A: "0", B: "0"}, {A: "0", B: "0"})
    model.generations.slow.rests(0, A, 2.0, model.now)
    model.change(A, "1")
    model.change(B, "1")
    windows = model.generation()
    assert [window.keys for window in windows] == [[B]], "the others do not wait for it"
    windows[0].finish(model)
    assert not model.generations.idle
    model.now += REST * 2.0
    (late,) = model.generation()
    assert late.keys == [A]
    late.finish(model)
    model.generations.slow.rests(0, A, 2.0, model.now)
    model.change(A, "2")
    assert model.generation() == []
    model.generations.slow.hurry = True
    model.settle()
    assert model.source == model.target


def resting(model: Model) -> Generations:
    """A key that is slow to copy has changed at 1.0, and rests until 21.0."""
    model.generations.slow.rests(0, A, 2.0, model.now)
    model.change(A, "1")
    assert model.generation() == []
    return model.generations


def test_a_key_that_has_rested_waits_since_its_event_until_its_copy_is_acknowledged() -> None:
    """For the end; as far as the lag is concerned, it waits since the end of its rest."""
    model = Model({A: "0"}, {A: "0"})
    generations = resting(model)
    assert (generations.oldest, generations.behind_since) == (1.0, 0.0)
    model.now = 30.0
    model.turn()
    woken = generations.behind_since
    assert generations.barrier and generations.oldest == 1.0 and woken > 30.0
    (late,) = model.generation()
    assert (generations.oldest, generations.behind_since) == (1.0, woken)
    late.finish(model)
    assert (generations.oldest, generations.behind_since) == (0.0, 0.0)


def test_a_key_that_changes_again_in_its_rest_has_waited_since_the_first_time() -> None:
    model = Model({A: "0"}, {A: "0"})
    generations = resting(model)
    model.now = 10.0
    model.change(A, "2")
    assert model.generation() == []
    assert generations.oldest == 1.0 and len(generations) == 1


def test_a_key_that_changes_as_it_wakes_is_read_once_and_both_events_are_remembered() -> None:
    model = Model({A: "0"}, {A: "0"})
    generations = resting(model)
    model.now = 30.0
    model.change(A, "2")
    (late,) = model.generation()
    assert late.keys == [A]
    (flight,) = generations.flights.values()
    assert (flight.dirtied.oldest, flight.dirtied.newest) == (1.0, 30.0)


def test_a_key_that_rests_is_not_forgotten_where_another_copy_of_it_was_slow_too() -> None:
    model = Model({A: "0"}, {A: "0"})
    generations = resting(model)
    generations.slow.rests(0, A, 3.0, model.now)
    model.settle()
    assert model.source == model.target


def test_a_name_that_is_marked_and_changed_is_read_once() -> None:
    model = Model({A: "0"}, {})
    model.generations.mark(0, [A], model.now)
    model.change(A, "1")
    assert [window.keys for window in model.generation()] == [[A]]
