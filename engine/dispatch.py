"""Which task goes to which worker, and what part of the limits: told to those that have room, at every turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .crew import Worker
from .governor import Governor
from .ledger import Entry
from .supply import Supply
from .workers import errors
from .workers.pace import NOTHING
from .workers.setup import Order
from .workers.task import LOOK_UP

if TYPE_CHECKING:
    from .coordinator import Coordinator


class Dispatcher:
    """Of one run: `hand_out` the tasks of its ledger, `share_out` what its governor allows."""

    def __init__(self, run: Coordinator) -> None:
        self.run = run

    def hand_out(self) -> None:
        """Give each worker as many of the waiting tasks as it has room for."""
        run = self.run
        if run.supply and not run.ending.begun:
            self._restock(run.supply)
        if run.ending.begun or (run.live and not run.live.ready):
            return
        if not run.fence.holds_tasks:  # what a dead worker had may be ranges, too
            run.ledger.bring_up_what_was_put_off()
        for worker in run.crew.workers:
            tasks = []
            while worker.free > 0 and (entry := self._next_for(worker)) is not None:
                tasks.append(run.ledger.give(entry))
                worker.tasks.add(entry.task.id)
                worker.free -= 1
            if tasks and not worker.seat.send(Order(tasks=tasks)):
                worker.heard_at = 0.0  # it takes no orders: silence will be noticed at once

    def _restock(self, supply: Supply) -> None:
        """Put as many tasks into the queue as workers can take now."""
        run = self.run
        wanted = sum(worker.free for worker in run.crew.workers) - len(run.ledger.waiting)
        try:
            for task in supply.tasks(wanted):
                run.ledger.add(task)
        except errors.KeyferryError as error:
            run.fail(error)

    def _next_for(self, worker: Worker) -> Entry | None:
        run = self.run
        if worker.alone:
            return None
        if run.ledger.suspects and not worker.tasks:
            worker.alone = True
            return run.ledger.suspects.popleft()
        waiting = run.ledger.waiting
        place = next((place for place, entry in enumerate(waiting) if not run.scanners.has_to_wait(entry.task)), None)
        if place is None or (run.live and run.live.crowded and waiting[place].task.work == LOOK_UP):
            return None
        entry = waiting[place]
        del waiting[place]
        return entry

    def share_out(self, governor: Governor) -> None:
        """Tell each worker its part of the limits; one that has nothing to copy keeps none."""
        run = self.run
        copying = [worker for worker in run.crew.workers if run.live or any(map(run.ledger.copies, worker.tasks))]
        share = governor.share(len(copying), run.ledger.total.read)
        for worker in run.crew.workers:
            theirs = share if worker in copying else NOTHING
            if theirs != worker.share and worker.seat.send(Order(share=theirs)):
                worker.share = theirs
