"""A model of a live copy, for the order of its reads and writes.

It has what makes order matter: two workers with a connection each, whose windows read from a source and write to a
target in steps that the test chooses. The `Generations` and the `Windows` are the real ones; the model does what
`live.py` and the worker's loop do with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from keyferry.generations import Generations
from keyferry.workers.barrier import Windows
from keyferry.workers.dirty import Dirtied, DirtySet


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
            first_id = 1000 + len(generations.slow.known) + int(self.now * 100)
            flights = generations.dispatch(self.workers, first_id, self.now)
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
            self.generations.lost.clear()
            lost = []
        self.graves.append(lost)
        self.workers[worker] = Worker()
        return dead.open

    def fence(self) -> None:
        """The connections of the dead are killed: nothing more of them arrives."""
        for lost in self.graves:
            for dirtied in lost:
                self.generations.given_back(dirtied)
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
