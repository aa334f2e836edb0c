"""A live copy: the changes of the source are followed until both sides are equal. What the coordinator does for it.

    feed ─ names ─→ generations ─ tasks ─→ workers
      │ gap                          ↑ marks
      └──→ sweep: all ranges again, and what the target has too much ─┘

WHAT HAPPENS IF
    events may be lost (a gap): once the feed listens again, and every window that is open now is closed, all ranges are
    copied again, and every key of the target that the source has not is marked. Marks go the way of all changed keys:
    there is no second way to delete.
    gap follows gap, without a moment in between in which all was settled: after SWEEPS_MAX it is given up, with the
    cause.
    a server is another one than before: the copy begins again, like any (`copying.py`), and what is then found too much
    at the target is counted before anything is removed (`removals.py`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .cutover import CutOver
from .feeding import Feeding
from .generations import Generations
from .lag import Lag
from .ledger import Entry
from .removals import Removals
from .state import LiveState, State
from .trespass import Trespass
from .workers.dirty import Dirtied
from .workers.errors import NotConverged
from .workers.finding import Finding
from .workers.slots import slots_of
from .workers.task import COPY, LIVE_KEYS, STREAMS, Aside, Order, Progress, Report, Scope, Task

if TYPE_CHECKING:
    from .coordinator import Coordinator
    from .crew import Worker

#: Numbers of live tasks begin here: the ledger has those below.
FIRST_TASK = 1 << 40
#: So many sweeps in a row, with no settled moment between them, lead nowhere.
SWEEPS_MAX = 3
#: Names that the run itself has marked: as long as they take less, more are asked for.
MARKED_BYTES = 32 << 20


@dataclass
class Field:
    """What is copied: databases, their nodes, and the tasks of a whole pass."""

    targets: dict[int, int]  # source db -> target db
    scopes: list[Scope]  # all databases of all source nodes
    owners: list[int] | None  # the source node of each slot; None where the source is no cluster
    tasks: Callable[[], list[Task]]  # that copy everything
    lookups: Callable[[], list[Task]]  # that find what the target has too much
    named: Callable[[list[bytes]], list[bytes]]  # those of the names that are in scope
    streams: bool  # streams are

    def by_node(self, keys: list[bytes]) -> list[tuple[int, list[bytes]]]:
        """Names by the source node that owns them."""
        if self.owners is None:
            return [(0, keys)]
        found: dict[int, list[bytes]] = {}
        for key, slot in zip(keys, slots_of(keys)):
            found.setdefault(self.owners[slot], []).append(key)
        return list(found.items())


@dataclass
class Live:
    """One per pass. The coordinator calls `turn`, and tells what workers say; `over` when it has nothing more to do."""

    feeding: Feeding
    field: Field
    removals: Removals
    idle_s: float | None  # quiet for so long: the end; None: only a signal ends it
    say: Callable[[str], None]
    warn: Callable[[str], None]
    trespass: Trespass
    timeout_s: float = 60.0  # of a command at the target
    generations: Generations = dataclasses.field(default_factory=Generations)
    lag: Lag = dataclasses.field(default_factory=Lag)
    gaps: int = 0
    keys: int = 0  # outcomes of changed keys
    asides: dict[tuple[int, bytes], Aside] = dataclasses.field(default_factory=dict)
    silent_at: int = -2  # calls of commands that change streams silently, when streams were copied last
    activity_at: float = 0.0  # when the last event came of a key that exists
    asked: bool = False  # to cut over now
    sweep_after: float = 0.0  # a wanted sweep has to wait until then
    unsettled_sweeps: int = 0
    _sweep: Iterator[None] | None = None
    _cause: str = ""
    _sweep_wanted: bool = False
    _next_task: int = FIRST_TASK
    _owed: list[Worker] = dataclasses.field(default_factory=list)  # credit, one each
    cutting: CutOver | None = None
    copied_s: float = 0.0  # how long the first pass over all ranges took
    _began_at: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.feeding.gap = self.gap

    # ---- for the coordinator --------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Every source is listened to: what is read from now on may be copied."""
        return self.feeding.confirmed_once

    @property
    def over(self) -> bool:
        """All that is left to do is to prove it."""
        return self._closing and self.generations.landed

    @property
    def _closing(self) -> bool:
        """No generation begins any more; what is under way lands."""
        return self.cutting is not None and self.cutting.done

    @property
    def streams_changed(self) -> bool:
        """Whether streams have changed silently since they were copied last, as far as the source tells."""
        told = self.feeding.told.silent
        return self.field.streams and told >= 0 and told != self.silent_at

    def turn(self, run: Coordinator) -> None:
        """Do what is due. Raises what ends the run."""
        now = time.monotonic()
        workers = len(run.crew.workers)
        for dirtied in self.feeding.turn(self.generations.room_bytes(workers)):
            self.generations.gathered.append(dirtied)
        if not self.ready:
            return
        if self.silent_at == -2:
            self.silent_at = self.feeding.told.silent
        if self.trespass.look(now, run.crew.sent) and self.removals.lapse():
            self._let_removals_lapse(run)
        self._grant()
        self._sweep_on(run, now)
        if self.removals.planning and run.ledger.finished and not self.sweeping:
            self._end_planning(run, now)
        if run.ledger.finished and not self.copied_s:
            self.copied_s = now - self._began_at
        self._advance(run, now)
        self._cut_over(run)

    def take_in(self, worker: Worker, report: Report) -> None:
        """A worker's barriers and windows."""
        for barrier, left in report.passed:
            self.generations.passed(worker, barrier, left)
        for window in report.closed:
            self.generations.closed(worker, window)

    def late_writes(self) -> None:
        """Bytes of a lost connection may still be executed, for as long as a command may take."""
        self.gap("a lost connection could not be killed at the target", after_s=self.timeout_s)

    def take_news(self, news: Progress) -> bool:
        """News of a task; False where it is none of ours."""
        if news.task < FIRST_TASK:
            return False
        if not news.finished:
            return True
        dirtied = self.generations.settled(news.task)
        if dirtied is None:
            return True  # of a worker that was given up
        now = time.monotonic()
        self.keys += len(dirtied.keys)
        self.lag.settled(dirtied, now)
        if news.counts.copied:
            self.activity_at = max(self.activity_at, dirtied.newest)
        for key, took_s in news.slow:
            self.generations.rests(dirtied.db, key, took_s, now)
        self.removals.settled(dirtied.db, dirtied.keys, news.left)
        if self.asides:
            for key in dirtied.keys:
                self.asides.pop((dirtied.db, key), None)
        for aside in news.asides:
            self.put_aside(aside)
        return True

    def put_aside(self, aside: Aside) -> None:
        """A key could not be copied; a later copy of it takes it out again."""
        self.asides[aside.db, aside.key] = aside

    def add(self, record: Aside | Finding) -> None:
        """A record of a key: it could not be copied, or the target has it and the source does not."""
        if isinstance(record, Aside):
            self.put_aside(record)
        elif self.removals.planning:
            self.removals.plan(record.db, [record.key])
        else:
            self.generations.mark(record.db, [record.key], time.monotonic())

    def listed(self, worker: Worker, task: Task, keys: list[bytes]) -> None:
        """Names that a STREAMS task has found."""
        self.generations.mark(task.db, self.field.named(keys), time.monotonic())
        self._owed.append(worker)

    @property
    def crowded(self) -> bool:
        """So many names are marked that no more are looked for."""
        return self.generations.marked.bytes >= MARKED_BYTES

    def died(self, worker: Worker) -> list[Entry]:
        """What a worker had: it is given back (`given_back`) once nothing that it has sent can arrive any more."""
        self.trespass.restart()
        lost = self.generations.died(worker)
        return [Entry(Task(0, LIVE_KEYS, db=one.db, keys=one.keys), 0, lost=one) for one in lost]

    def given_back(self, entry: Entry) -> None:
        """A dead worker's connections are killed: what it had is dirty again."""
        assert isinstance(entry.lost, Dirtied)
        self.generations.again([entry.lost])

    def _grant(self) -> None:
        if self._owed and not self.crowded:
            owed, self._owed = self._owed, []
            for worker in owed:
                worker.seat.send(Order(credit=1))

    def take_asides(self) -> list[Aside]:
        """The keys that could not be copied, and were not copied later."""
        asides, self.asides = list(self.asides.values()), {}
        return asides

    def cut_over_now(self) -> None:
        """The user does not want to wait any longer."""
        if not self.asked:
            self.asked = True
            self.say("cutting over: what has changed until now is copied; the same again stops at once")

    # ---- generations ----------------------------------------------------------------------------------------

    def _advance(self, run: Coordinator, now: float) -> None:
        generations, workers = self.generations, run.crew.workers
        if generations.barrier and not generations.waits_for and not run.fence.holds_tasks and workers:
            self._hand_out(run, now)
        if not generations.barrier and not self._closing:
            self._raise(run, generations.begin(workers, now))

    def _raise(self, run: Coordinator, barrier: int) -> None:
        if barrier:
            run.crew.tell(Order(barrier=barrier))

    def _hand_out(self, run: Coordinator, now: float) -> None:
        orders: dict[Worker, list[Task]] = {}
        flights = self.generations.dispatch(run.crew.workers, self._next_task, now, self.field.by_node)
        for number, flight in flights.items():
            dirtied = flight.dirtied
            target = self.field.targets[dirtied.db]
            task = Task(number, LIVE_KEYS, flight.node, dirtied.db, target, keys=dirtied.keys)
            orders.setdefault(flight.who, []).append(task)  # type: ignore[arg-type]
        self._next_task += len(flights)
        for worker, tasks in orders.items():
            if not worker.seat.send(Order(tasks=tasks)):
                worker.heard_at = 0.0  # silence will be noticed at once, and the tasks come back

    @property
    def unsettled(self) -> int:
        """Changed keys that are not at the target yet."""
        return len(self.generations) + self.feeding.told.dirty

    def settled_before(self, instant: float) -> bool:
        """Whether every event that had arrived at this time is settled, and everything that was marked until then."""
        if self.feeding.told_at < instant:
            return False
        oldest = [time for time in (self.generations.oldest, self.feeding.told.oldest) if time]
        resting = any(slow.dirtied for slow in self.generations.slow.values())
        return min(oldest, default=instant) >= instant and not resting

    # ---- gaps -----------------------------------------------------------------------------------------------

    def gap(self, why: str, after_s: float = 0.0) -> None:
        """Events may be lost: everything is looked at again."""
        self.gaps += 1
        known, self._sweep_wanted, self._cause = self._sweep_wanted, True, why
        self.sweep_after = max(self.sweep_after, time.monotonic() + after_s)
        if not known:
            self.warn(f"gap: {why}: everything is copied again")

    @property
    def sweeping(self) -> bool:
        """A sweep is wanted, or under way."""
        return self._sweep_wanted or self._sweep is not None

    def _sweep_on(self, run: Coordinator, now: float) -> None:
        if self._sweep is None and self._sweep_wanted and run.ledger.finished and now >= self.sweep_after:
            if self.feeding.confirmed and not self.generations.barrier:
                self._sweep_wanted = False
                self._sweep = self._steps_of_a_sweep(run)
        elif self._sweep is not None and next(self._sweep, self) is self:
            self._sweep = None
        if not self.sweeping and self.unsettled_sweeps and run.ledger.finished and self.generations.idle:
            self.unsettled_sweeps = 0  # a moment in which all was settled

    def _steps_of_a_sweep(self, run: Coordinator) -> Iterator[None]:
        """All windows of before are closed; then everything is read again."""
        self.unsettled_sweeps += 1
        if self.unsettled_sweeps > SWEEPS_MAX:
            raise NotConverged(
                f"{SWEEPS_MAX} sweeps in a row, and events were lost again: {self._cause}",
                hint="copy at a quieter time, or mend the cause",
            )
        barrier = self.generations.raise_barrier(run.crew.workers)
        self._raise(run, barrier)
        while self.generations.barrier == barrier:
            yield
        held = set(self.generations.held)
        while held.intersection(self.generations.held) or run.fence.holds_tasks:
            yield
        for scope in self.field.scopes:
            run.ledger.forget(scope, COPY)
        for task in [*self.field.tasks(), *self.field.lookups()]:
            run.ledger.add(task)
        while not run.ledger.finished:
            yield

    def _end_planning(self, run: Coordinator, now: float) -> None:
        """A server is another one than before, and what it has lost is little: it may be removed."""
        for db, keys in self.removals.planned().items():
            self.generations.mark(db, self.field.named(keys), now)
        run.setup = replace(run.setup, removes=self.removals.now)
        run.crew.tell(Order(removes=self.removals.now))

    def _let_removals_lapse(self, run: Coordinator) -> None:
        self.warn("others write to the target: keys that go at the source stay there, unless --prune is given")
        run.setup = dataclasses.replace(run.setup, removes=[])
        run.crew.tell(Order(removes=[]))

    def show(self, state: State) -> None:
        """What can be seen of it while it runs."""
        told, now = self.feeding.told, time.monotonic()
        oldest = [at for at in (self.generations.oldest, told.oldest) if at]
        lag_s = now - min(oldest) if oldest else 0.0
        state.live = LiveState(told.events, self.unsettled, lag_s, self.gaps, self.sweeping)

    def stream_tasks(self) -> list[Task]:
        """A task that lists the streams of each database of each node."""
        return [Task(0, STREAMS, node, db, self.field.targets[db], checked=False) for node, db in self.field.scopes]

    # ---- the end --------------------------------------------------------------------------------------------

    @property
    def quiet_s(self) -> float:
        """For how long nothing in scope was written, as far as can be told.

        Either no source was written to at all; or every event since was of a key that turned out to be gone, as keys
        expire for long after the last write, and others may write to what is not copied.
        """
        now = time.monotonic()
        still_since = self.feeding.told.still_since
        return max(now - self.activity_at, now - still_since if still_since else 0.0)

    def _cut_over(self, run: Coordinator) -> None:
        if self.cutting is None:
            self.activity_at = self.activity_at or time.monotonic()
            idle = self.idle_s is not None and self.quiet_s >= self.idle_s and self.generations.idle
            begun = self.sweeping or self.removals.planning or not run.ledger.finished
            if not begun and (idle or self.asked):
                self.cutting = CutOver(self, self.asked)
        else:
            self.cutting.turn(run)
            if self.cutting.failed:
                self.cutting = None
