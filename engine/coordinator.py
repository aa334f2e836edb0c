"""The coordinator: gives tasks to workers, takes in their reports, and outlives them.

WHAT HAPPENS IF a signal comes: the first one stops reading, lets open windows finish and ends the run in order; the
second one ends it at once. IF a worker dies, or is silent for too long: `losses.py`. Who gets what: `dispatch.py`.
"""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from .clocks import Clocks
from .contacts import Contacts
from .crew import Crew, Worker
from .dispatch import Dispatcher
from .ending import Ending
from .eviction import Watch
from .fence import Fence
from .governor import Governor
from .ledger import Ledger
from .losses import Losses
from .outages import Outages
from .outlook import Outlook
from .partitioners.control import Control, without_waiting
from .plans import Plan
from .reasons import most_important
from .records import Records
from .scanners import Scanners
from .state import State
from .supply import Supply
from .workers import errors
from .workers.news import Aside, Progress, Report
from .workers.setup import Order, Setup
from .workers.task import COPY_KEYS, LIST_TYPE, LOOK_UP, SIFT_KEYS, Task

if TYPE_CHECKING:
    from .live import Live  # most copies do without

#: The loop looks at signals, clocks and silence at least so often.
TICK_S = 0.2


class Coordinator:
    """Runs the tasks of a plan."""

    def __init__(
        self,
        setup: Setup,
        tasks: list[Task],
        workers: int,
        executor: Any,
        contacts: Contacts,
        *,
        aside: Records,
        controls: tuple[list[Control], list[Control]] | None = None,
        watch: Watch | None = None,
        silence_s: float = 30.0,
        keys_total: int = 0,
        governor: Governor | None = None,
        outlook: Outlook | None = None,
        supply: Supply | None = None,
        live: Live | None = None,
        writes: bool = True,
    ) -> None:
        self.setup, self.aside, self.wanted = setup, aside, workers
        self.contacts, self.say = contacts, contacts.say
        self.controls, self.silence_s = controls, silence_s
        self.governor, self.watch, self.outlook = governor, watch, outlook
        self.supply, self.live = supply, live  # names make tasks, in place of ranges; changes are followed
        self.ledger = Ledger(tasks)
        self.ledger.looks_up_besides = live is not None
        self.state = State(keys_total)
        self.crew = Crew(executor)
        self.scanners = Scanners(setup, self.ledger, self.crew, self.say)
        written = controls[1] if controls and writes else []
        self.fence = Fence(written, setup.targets, setup.retry_for_s, contacts.warn)
        if live:
            self.fence.late_writes = live.late_writes
        self.outages = Outages(self.say, contacts.warn, setup.retry_for_s)
        self.losses, self.dispatcher = Losses(self), Dispatcher(self)
        self.ending, self.clocks = Ending(contacts.warn), Clocks(controls)

    @classmethod
    def of_plan(
        cls,
        plan: Plan,
        executor: Any,
        contacts: Contacts,
        setup: Setup | None = None,
        tasks: list[Task] | None = None,
        **more: Any,
    ) -> Coordinator:
        """The coordinator for a copy; `setup` and `tasks` stand in the place of the plan's, as for a verification."""
        governor = Governor(plan.limits, [node.endpoint for node in plan.setup.sources]) if plan.limits else None
        more = {"silence_s": plan.silence_s, "keys_total": plan.keys_total, "governor": governor} | more
        tasks = plan.tasks() if tasks is None else tasks
        return cls(setup or plan.setup, tasks, plan.workers, executor, contacts, **more)

    @property
    def cpu_s(self) -> float:
        """Processor time of all workers, those that are gone included."""
        return self.crew.cpu_s

    @property
    def signal(self) -> int:
        """The signal that has ended the run, or 0."""
        return self.ending.signal

    @property
    def tasks_done(self) -> bool:
        """Nothing is left to do, also of what dead workers had."""
        return self.ledger.finished and not self.fence.holds_tasks

    @property
    def _all_read(self) -> bool:
        """Nothing is left to do, and no names are to come."""
        return self.tasks_done and (self.supply is None or self.supply.finished)

    # ---- the loop -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until everything is done, a signal has ended it, or an error does (raised)."""
        with without_waiting(chain(*(self.controls or ()))):
            self._run()

    def _run(self) -> None:
        try:
            if self.governor:
                self.governor.begin()
            if self.outlook:
                self.outlook.begin()
            for _ in range(self.wanted):
                self.crew.launch(self.setup)
            while not self._over():
                self._turn()
            for record in self.ledger.left_aside():
                if self.live is None or isinstance(record, Aside):  # what may have to go, nobody removes any more
                    (self.live or self.aside).add(record)
            if self.ending.failure:
                raise self.ending.failure
            self.crew.quit()
        finally:
            if self.governor:
                self.governor.end()
            self.crew.close()
            if self.ending.leaves_writes_behind:
                self.fence.close(self.crew.clients)
            self._update_state()

    def leave(self) -> None:
        """After the run: what was not acknowledged is queued again on the ledger, for another pass to go on with."""
        self.ledger.close(self.fence.held)

    def _over(self) -> bool:
        if self.ending.is_due:
            return True
        if self.ending.begun:
            return all(worker.drained for worker in self.crew.workers)
        if self.live and not self.live.over:
            return False
        return self._all_read and (self.outlook is None or self.outlook.settled)

    def _turn(self) -> None:
        for worker, report in self.crew.hear(TICK_S, self.live.feeding.seats if self.live else ()):
            if report is None:
                self.losses.note(worker, "died")
            else:
                self._take_in(worker, report)
        self.losses.give_back()
        if self.live:
            self._follow(self.live)
        if self.outlook and not self.ending.begun:
            self._look_out(self.outlook)
        self.dispatcher.hand_out()
        if self.governor:
            self.dispatcher.share_out(self.governor)
        self._look_at_silence()
        if not self.ending.begun:  # who is gone has not found its connection again
            down = [worker.down for worker in self.crew.workers]
            self.outages.note(chain(*down, self.live.feeding.told.down if self.live else ()))
        self._look_at_signals()
        self._look_at_clocks()
        self._look_at_evictions()
        self._update_state()
        self.contacts.tick(self.state)

    def _follow(self, live: Live) -> None:
        """Go on with the changes. What ends that ends the run in order, so that nothing arrives in the next pass."""
        if not self.ending.begun:
            try:
                live.turn(self)
            except errors.KeyferryError as error:
                self.fail(error)

    def _update_state(self) -> None:
        self.state.counts = self.ledger.total
        more = self.supply is not None and not self.supply.finished
        self.state.ranges, self.state.ranges_done = self.ledger.ranges + more, self.ledger.ranges_done
        reasons = self.outages.reasons()
        if self.governor and (why := self.governor.why({worker.held_by for worker in self.crew.workers})):
            reasons.append(f"throttled: {why}")
        self.state.waiting = most_important([*reasons, *(worker.waiting for worker in self.crew.workers)])
        self.state.workers = len(self.crew.workers)
        if self.live:
            self.live.show(self.state)

    def _look_out(self, outlook: Outlook) -> None:
        """Take in what has changed in clusters; when all else is done, the keys of slots that have moved follow."""
        try:
            outlook.take_in()
            if self._all_read and not outlook.settled:
                add = self.supply.add if self.supply else self.ledger.add
                for task in outlook.tasks():
                    add(task)
        except errors.KeyferryError as error:
            self.fail(error)

    # ---- reports --------------------------------------------------------------------------------------------

    def _take_in(self, worker: Worker, report: Report) -> None:
        worker.heard_at = time.monotonic()
        worker.waiting, worker.cpu_s = report.waiting, report.cpu_s
        self.contacts.measured(report.latencies)
        worker.held_by, worker.sent, worker.told_at = report.held_by, report.sent, report.made_at
        worker.clients += [(node, client) for side, node, client in report.clients if side == "target" and client]
        worker.drained, worker.down = report.drained, report.down
        self.outages.hear(report.down)
        if self.live:
            self.live.take_in(worker, report)
        if report.unfenced:
            self.fence.warn_of_late_writes(report.unfenced)
        for news in report.progress:
            self._take_in_news(worker, news)
        # A report may be older than our last order: what it calls free may have a task by now. And names make tasks
        # long: no worker has more of them than it began with lanes.
        most = self.setup.lanes if self.supply else self.setup.most_lanes
        worker.free = min(report.free, most - len(worker.tasks))
        if not worker.tasks:
            worker.alone = False
        if report.failure and not self.ending.failure:
            self.fail(errors.unpack(report.failure))

    def fail(self, error: errors.KeyferryError) -> None:
        """End the run; the workers tell what they have written before."""
        self.ending.by_failure(error)
        self._drain()

    def _take_in_news(self, worker: Worker, news: Progress) -> None:
        if self.live and self.live.take_news(news):
            return
        entry = self.ledger.given.get(news.task)
        worked = entry.unsettled.worked + news.counts.worked if entry else 0
        for aside in self.ledger.acknowledge(news):
            (self.live or self.aside).add(aside)
        if self.supply and entry and news.finished:
            self.supply.settled(entry.task, worked)
        if news.listed is not None and entry and self.supply and entry.task.kind == SIFT_KEYS:
            self.supply.sifted(entry.task, news.listed)
        elif news.listed is not None and entry and self.live and entry.task.kind == LIST_TYPE:
            self.live.listed(worker, entry.task, news.listed)
        elif news.listed is not None and entry:
            self.scanners.listed(worker, entry.task, news.listed)
        if news.opaque and entry:
            self.begin_again(entry.task, news.opaque)
        if news.finished or news.opaque:
            worker.tasks.discard(news.task)
            if entry and entry.task.kind == COPY_KEYS:
                self.scanners.copied(entry.task)

    def begin_again(self, task: Task, why: str) -> None:
        """Read a database whose cursors cannot be split again, with one scanner."""
        if not (self.live and task.work == LOOK_UP):
            self.scanners.restarted[task.scope] = why
        if not self.live:
            self.aside.forget(task.scope)
        self.fence.forget(task.scope, task.work)
        self.scanners.take_over(task, why)

    # ---- what is kept in view -------------------------------------------------------------------------------

    def _look_at_silence(self) -> None:
        for worker in self.crew.silent(self.silence_s):
            self.losses.note(worker, f"has been silent for {self.silence_s:g} s")

    def _look_at_signals(self) -> None:
        seen = self.contacts.signal_seen()
        if self.live and seen == signal.SIGINT:
            self.live.cut_over_now()
        elif seen and not self.signal:
            self.ending.by_signal(seen)
            self.say("stopping: what is on its way is finished; the same again stops at once")
            self._drain()

    def _drain(self) -> None:
        self.crew.tell(Order(drain=True))

    def _look_at_clocks(self) -> None:
        if (shifts := self.clocks.look()) is not None:
            self.crew.tell(Order(shifts=shifts))

    def _look_at_evictions(self) -> None:
        """A source that has less room, or that evicts, is asked for less at a time."""
        if self.watch and self.live:
            self.watch.feed_bytes = self.live.feeding.told.unread_bytes
        unread_bytes = self.watch.look(time.monotonic()) if self.watch else None
        if unread_bytes is not None:
            self.setup = replace(self.setup, unread_bytes=unread_bytes)
            self.crew.tell(Order(unread_bytes=unread_bytes))
