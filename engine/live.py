"""A live copy: the changes of the source are followed until both sides are equal. What the coordinator does for it.

    feed ─ names ─→ generations ─ tasks ─→ workers
      │ gap                          ↑ marks
      └──→ sweep: all ranges again, and what the target has too much ─┘

WHAT HAPPENS IF a server is another one than before: the copy begins again, like any (`copying.py`), and what is then
found too much at the target is counted before anything is removed (`removals.py`). Where events are lost: `sweeps.py`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .asides import Asides
from .cutover import CutOver
from .feeding import Feeding
from .field import Field
from .generations import Generations
from .lag import Lag
from .ledger import Entry
from .removals import Removals
from .silent import Silent
from .state import LiveState, State
from .sweeps import Sweeps
from .trespass import Trespass
from .workers.dirty import Dirtied
from .workers.finding import Finding
from .workers.news import Aside, Progress, Report
from .workers.setup import Order
from .workers.task import LIVE_KEYS, Task

if TYPE_CHECKING:
    from .coordinator import Coordinator
    from .crew import Worker

#: Numbers of live tasks begin here: the ledger has those below.
FIRST_TASK = 1 << 40
#: Names that the run itself has marked: as long as they take less, more are asked for.
MARKED_BYTES = 32 << 20


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
    listening: Callable[[], None] = lambda: None  # called once, when it listens to every source, before all else
    timeout_s: float = 60.0  # of a command at the target
    generations: Generations = dataclasses.field(default_factory=Generations)
    lag: Lag = dataclasses.field(default_factory=Lag)
    keys: int = 0  # outcomes of changed keys
    asides: Asides = dataclasses.field(default_factory=Asides)
    activity_at: float = 0.0  # when the last event came of a key that exists, whether it could be copied or not
    asked: bool = False  # to cut over now
    _next_task: int = FIRST_TASK
    _owed: list[Worker] = dataclasses.field(default_factory=list)  # credit, one each
    cutting: CutOver | None = None
    copied_s: float = 0.0  # how long the first pass over all ranges took
    _began_at: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.silent = Silent(self.feeding, self.field, self.removals)
        self.sweeps = Sweeps(self.feeding, self.field, self.generations, self.settled_before, self.warn)
        self.feeding.gap = self._gap

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

    def turn(self, run: Coordinator) -> None:
        """Do what is due. Raises what ends the run."""
        now = time.monotonic()
        workers = len(run.crew.workers)
        for dirtied in self.feeding.turn(self.generations.room_bytes(workers)):
            self.generations.gathered.append(dirtied)
        if not self.ready:
            return
        listening, self.listening = self.listening, lambda: None
        listening()
        self.silent.begin()
        if run.fence.holds_tasks:
            self.trespass.restart()
        elif self.trespass.look(run.crew.sent, run.crew.told_at) and self.removals.lapse():
            self._let_removals_lapse(run)
        self._grant(run)
        self._hand_out(run, now)
        self.sweeps.turn(run, now)  # in between, or generation followed generation for ever and no sweep could begin
        if self.removals.planning and run.tasks_done and not self.sweeps.under_way:
            self._end_planning(run, now)
        if run.tasks_done and not self.copied_s:
            self.copied_s = now - self._began_at
        self._begin(run, now)
        self._cut_over(run)

    def take_in(self, worker: Worker, report: Report) -> None:
        """A worker's barriers and windows."""
        for barrier, left in report.passed:
            self.generations.passed(worker, barrier, left)
        for window in report.closed:
            self.generations.closed(worker, window)

    def _gap(self, why: str) -> None:
        """Events may be lost: all is copied again."""
        self.silent.gap()
        self.sweeps.gap(why)

    def late_writes(self) -> None:
        """Bytes of a lost connection may still be executed, for as long as a command may take."""
        self.sweeps.gap("a lost connection could not be killed at the target", after_s=self.timeout_s)

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
        if news.counts.copied or news.counts.aside:
            self.activity_at = max(self.activity_at, dirtied.newest)
        for key, took_s in news.slow:
            self.generations.slow.rests(dirtied.db, key, took_s, now)
        self.removals.settled(dirtied.db, dirtied.keys, news.left)
        self.asides.take_out(dirtied.db, dirtied.keys)
        for aside in news.asides:
            self.asides.put(aside)
        return True

    def add(self, record: Aside | Finding) -> None:
        """A record of a key: it could not be copied, or the target has it and the source does not."""
        if isinstance(record, Aside):
            self.asides.put(record)
        elif self.removals.counted_first(record.db):
            self.removals.plan(record.db, [record.key])
        else:
            self.generations.mark(record.db, [record.key], time.monotonic())

    def listed(self, worker: Worker, task: Task, keys: list[bytes]) -> None:
        """Keys that a LIST_TYPE task has found."""
        keys = self.field.named(keys)
        self.silent.keys += len(keys)
        self.generations.mark(task.db, keys, time.monotonic())
        self._owed.append(worker)

    @property
    def crowded(self) -> bool:
        """So many names are marked that no more are looked for."""
        return self.generations.marked.bytes >= MARKED_BYTES

    def died(self, worker: Worker) -> list[Entry]:
        """What a worker had: it is given back (`given_back`) once nothing that it has sent can arrive any more."""
        self.trespass.restart()
        self._owed = [one for one in self._owed if one is not worker]
        lost = self.generations.died(worker)
        return [Entry(Task(0, LIVE_KEYS, db=one.db, keys=one.keys), 0, lost=one) for one in lost]

    def given_back(self, entry: Entry) -> None:
        """A dead worker's connections are killed: what it had is dirty again."""
        assert isinstance(entry.lost, Dirtied)
        self.generations.given_back(entry.lost)

    def _grant(self, run: Coordinator) -> None:
        """Let lists of keys go on.

        One that has to wait keeps its link, and names of another database may have no room for theirs until it ends.
        If these are all that may be given out, nothing else would ever let it go on: so it does, and should the marks
        not fit into their memory, they are made good like any gap.
        """
        stuck = self.generations.full and len(self.field.targets) > run.setup.links
        if self._owed and (stuck or not self.crowded):
            owed, self._owed = self._owed, []
            for worker in owed:
                worker.seat.send(Order(credit=1))

    def cut_over_now(self) -> None:
        """The user does not want to wait any longer."""
        if not self.asked:
            self.asked = True
            self.say("cutting over: what has changed until now is copied; the same again stops at once")

    # ---- generations ----------------------------------------------------------------------------------------

    def _begin(self, run: Coordinator, now: float) -> None:
        """The next generation, if none is under way."""
        if self.generations.barrier or self._closing:
            return
        if barrier := self.generations.begin(run.crew.workers, now):
            run.crew.tell(Order(barrier=barrier))

    def _hand_out(self, run: Coordinator, now: float) -> None:
        """The generation under way, if its barrier is passed."""
        generations, workers = self.generations, run.crew.workers
        if not generations.barrier or generations.waits_for or run.fence.holds_tasks or not workers:
            return
        orders: dict[Worker, list[Task]] = {}
        flights = generations.dispatch(workers, self._next_task, now, self.field.by_node)
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
        if self.feeding.told.made_at < instant:
            return False
        oldest = [time for time in (self.generations.oldest, self.feeding.told.oldest) if time]
        return min(oldest, default=instant) >= instant

    # ---- removals -------------------------------------------------------------------------------------------

    def _end_planning(self, run: Coordinator, now: float) -> None:
        """A server is another one than before, and what it has lost is little: it may be removed."""
        for db, keys in self.removals.planned().items():
            self.generations.mark(db, self.field.named(keys), now)
        self._tell_of_removals(run)

    def _let_removals_lapse(self, run: Coordinator) -> None:
        if not self.removals.prune:
            self.warn("others write to the target: keys that go at the source stay there, unless --prune is given")
        self._tell_of_removals(run)

    def _tell_of_removals(self, run: Coordinator) -> None:
        run.setup = self.removals.told(run.setup)
        run.crew.tell(Order(removes=run.setup.removes, ours=run.setup.ours))

    def show(self, state: State) -> None:
        """What can be seen of it while it runs."""
        told, now = self.feeding.told, time.monotonic()
        since = [at for at in (self.generations.behind_since, told.oldest) if at]
        lag_s = now - min(since) if since else 0.0
        state.live = LiveState(self.feeding.events, self.unsettled, lag_s, self.sweeps.gaps, self.sweeps.under_way)

    # ---- the end --------------------------------------------------------------------------------------------

    @property
    def written_at(self) -> float:
        """When something in scope was last written, as far as can be told.

        Since then either no source was written to at all, though fields of hashes may have expired, of which events
        tell; or every event was of a key that turned out to be gone, as keys expire for long after the last write, and
        others may write to what is not copied.
        """
        still_since = self.feeding.told.still_since
        return min(self.activity_at, still_since) if still_since else self.activity_at

    def _cut_over(self, run: Coordinator) -> None:
        if self.cutting is None:
            self.activity_at = self.activity_at or time.monotonic()
            quiet_s = time.monotonic() - self.written_at
            idle = self.idle_s is not None and quiet_s >= self.idle_s and self.generations.idle
            begun = self.sweeps.under_way or self.removals.planning or not run.tasks_done
            if not begun and (idle or self.asked):
                self.cutting = CutOver(self, self.asked)
        else:
            self.cutting.turn(run)
            if self.cutting.failed:
                self.cutting = None
