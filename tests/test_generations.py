"""The order of live copies: every dangerous interleaving is forced, and goes wrong where its rule is taken out.

The model below has what makes order matter: two workers with a connection each, whose windows read from a source and
write to a target in steps that the test chooses. What is tested is the real `Generations` and the real `Windows`; the
model does what `live.py` and the worker's loop do with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.generations import MOST_IN_FLIGHT_BYTES, REST, Generations
from keyferry.workers.barrier import Windows
from keyferry.workers.dirty import Dirtied, DirtySet

Step = Callable[["Model"], object]


@dataclass(eq=False)
class Window:
    """One window of a worker: what it has read, once it has."""

    worker: Worker
    keys: list[bytes]
    task: int = 0  # of a generation
    number: int = 0
    values: dict[bytes, str | None] | None = None
    written: bool = False

    def read(self, model: Model) -> Window:
        """The source answers."""
        self.values = {key: model.source.get(key) for key in self.keys}
        return self

    def write(self, model: Model) -> Window:
        """The target executes what was read."""
        assert self.values is not None
        for key, value in self.values.items():
            if value is not None:
                model.target[key] = value
            elif self.task:
                model.target.pop(key, None)  # a scan never removes
        self.written = True
        return self

    def acknowledge(self, model: Model) -> None:
        """The worker has the target's reply."""
        self.worker.open.remove(self)
        self.worker.windows.closed(self.number)
        if self.task:
            model.generations.settled(self.task)

    def finish(self, model: Model) -> None:
        """All that is left of it."""
        if self.values is None:
            self.read(model)
        if not self.written:
            self.write(model)
        self.acknowledge(model)


@dataclass(eq=False)
class Worker:
    """A worker process."""

    windows: Windows = field(default_factory=lambda: Windows(lambda: None))
    open: list[Window] = field(default_factory=list)
    barrier: int = 0


@dataclass
class Model:
    """Source, target, feed, two workers, and the coordinator between them."""

    source: dict[bytes, str] = field(default_factory=dict)
    target: dict[bytes, str] = field(default_factory=dict)
    feed: DirtySet = field(default_factory=lambda: DirtySet(1 << 20))
    generations: Generations = field(default_factory=Generations)
    workers: list[Worker] = field(default_factory=lambda: [Worker(), Worker()])
    graves: list[list[Dirtied]] = field(default_factory=list)
    now: float = 1.0
    without: str = ""  # the rule that is taken out

    def change(self, key: bytes, value: str | None) -> None:
        """A client writes; the feed hears of it."""
        if value is None:
            self.source.pop(key, None)
        else:
            self.source[key] = value
        self.feed.add(0, [key], self.now)

    def scan(self, worker: int, *keys: bytes) -> Window:
        """A lane of a range opens a window."""
        return self._open(self.workers[worker], Window(self.workers[worker], list(keys)))

    def _open(self, worker: Worker, window: Window) -> Window:
        window.number = worker.windows.opened(0, window.keys)
        worker.open.append(window)
        return window

    def turn(self) -> list[Window]:
        """What the coordinator does each turn; the windows of a generation that begins."""
        generations = self.generations
        self.now += 0.01
        generations.gathered += self.feed.take(generations.room_bytes(len(self.workers)))
        if self.without == "an event is not added to the generation whose barrier is under way" and generations.barrier:
            generations.forming, generations.gathered = generations.forming + generations.gathered, []
        for worker in self.workers:
            passed, closed = worker.windows.take()
            for barrier, left in passed:
                generations.passed(worker, barrier, [] if self.without == "names are held back" else left)
            for number in closed:
                generations.closed(worker, number)
        waits = generations.waits_for and self.without != "a generation waits for its barrier"
        fenced = not self.graves or self.without == "what a dead worker had waits for the fence"
        opened = []
        if generations.barrier and not waits and fenced:
            flights = generations.dispatch(self.workers, 1000 + len(generations.slow) + int(self.now * 100), self.now)
            for task, flight in flights.items():
                window = Window(flight.who, flight.dirtied.keys, task)  # type: ignore[arg-type]
                opened.append(self._open(flight.who, window))  # type: ignore[arg-type]
        if not generations.barrier:
            self._raise(generations.begin(self.workers, self.now))
        return opened

    def _raise(self, barrier: int) -> None:
        for worker in self.workers if barrier else ():
            worker.barrier = barrier
            worker.windows.barrier(barrier)

    def generation(self) -> list[Window]:
        """The windows of the next generation, or none where it has to wait."""
        for _ in range(4):
            if opened := self.turn():
                return opened
        return []

    def a_second_passes(self) -> None:
        """What does not close in time leaves its barrier."""
        self.now += 1
        for worker in self.workers:
            worker.windows.publish(worker.barrier)

    def kill(self, worker: int) -> list[Window]:
        """A worker dies; its windows may still have bytes on their way."""
        dead = self.workers[worker]
        lost = self.generations.died(dead)
        if self.without == "what a dead worker had is dirty again":
            lost = []
        self.graves.append(lost)
        self.workers[worker] = Worker()
        return dead.open

    def fence(self) -> None:
        """The connections of the dead are killed: nothing more of them arrives."""
        for lost in self.graves:
            self.generations.again(lost)
        self.graves.clear()

    def settle(self) -> None:
        """Everything that is under way ends, and whatever that leads to."""
        for _ in range(50):
            for worker in self.workers:
                for window in list(worker.open):
                    window.finish(self)
            self.turn()
            self.now += 1
        assert self.generations.idle


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


def test_a_key_that_is_slow_to_copy_rests_and_is_copied_at_the_end() -> None:
    model = Model({A: "0", B: "0"}, {A: "0", B: "0"})
    model.generations.rests(0, A, 2.0, model.now)
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
    model.generations.rests(0, A, 2.0, model.now)
    model.change(A, "2")
    assert model.generation() == []
    model.generations.hurry = True
    model.settle()
    assert model.source == model.target


def test_a_name_that_is_marked_and_changed_is_read_once() -> None:
    model = Model({A: "0"}, {})
    model.generations.mark(0, [A], model.now)
    model.change(A, "1")
    assert [window.keys for window in model.generation()] == [[A]]


# ---- the dirty set --------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.binary(max_size=4), max_size=8)), max_size=30), st.integers(1, 60)
)
def test_what_is_added_is_taken_once_and_oldest_first(adds: list[tuple[int, list[bytes]]], room: int) -> None:
    dirty = DirtySet(1 << 20)
    for at, (db, keys) in enumerate(adds, 1):
        dirty.add(db, keys, float(at))
    taken: dict[int, list[bytes]] = {}
    while len(dirty):
        for one in dirty.take(room):
            assert one.oldest <= one.newest
            taken.setdefault(one.db, []).extend(one.keys)
    for db in range(3):
        added = [key for where, keys in adds if where == db for key in keys]
        assert taken.get(db, []) == list(dict.fromkeys(added))
    assert dirty.bytes == 0 and dirty.oldest == 0.0


def test_a_set_that_is_full_forgets_everything_and_says_so() -> None:
    dirty = DirtySet(10_000)
    dirty.add(0, [b"key:%d" % number for number in range(200)], 1.0)
    assert dirty.full and len(dirty) == 0 and dirty.bytes == 0
