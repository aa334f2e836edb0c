"""Workers that are lost, and what becomes of their tasks.

WHAT HAPPENS IF a worker dies, or is silent for too long: it is killed and waited for, its connections are killed at
the target (bytes that it had sent must not be executed after what replaces them: `fence.py`), and only then its tasks
go back to their acknowledged positions. One of them may be the cause: each is then tried alone, and one that kills
three workers is taken apart until the key is found and put aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .apart import take_apart
from .crew import Worker
from .ledger import DEATHS_TO_SPLIT, Entry
from .workers.errors import RunError
from .workers.news import Aside, Counts
from .workers.task import LIST_KEYS, LIST_TYPE, LOOK_UP

if TYPE_CHECKING:
    from .coordinator import Coordinator

#: More deaths than this are no accident, and no single key either.
DEATHS_MAX = 64


class Losses:
    """Those of one run: `note` each worker that is lost, and `give_back` at every turn."""

    def __init__(self, run: Coordinator) -> None:
        self.run = run
        self.deaths = 0

    def note(self, worker: Worker, how: str) -> None:
        """A worker is lost; another takes its place. Raises RunError where that leads nowhere."""
        run = self.run
        run.crew.dismiss(worker)
        self.deaths += 1
        if run.ending.begun:
            return run.fence.hold(worker.clients, [])  # the ledger keeps its tasks; what it has sent must not arrive
        if self.deaths > DEATHS_MAX:
            raise RunError("workers keep dying", hint="is there memory enough for them?")
        run.say(f"a worker {how}: its {len(worker.tasks)} tasks are given to others")
        lost = run.ledger.take_back(worker.tasks, killed=True)
        if run.live:
            lost += run.live.died(worker)
        run.fence.hold(worker.clients, lost)
        run.crew.launch(run.setup)

    def give_back(self) -> None:
        """Queue the tasks of lost workers of which nothing can arrive any more."""
        run = self.run
        # Scanners come last: what begins again with one takes in all of its database, also what its worker had of that.
        for entry in sorted(run.fence.released(), key=lambda entry: entry.task.kind == LIST_KEYS):
            if entry.lost is not None and run.live:
                run.live.given_back(entry)
            elif entry.task.kind == LIST_TYPE:
                run.ledger.waiting.append(entry)
            elif entry.task.kind == LIST_KEYS:
                run.begin_again(entry.task, run.scanners.restarted.get(entry.task.scope, ""))
            elif entry.deaths < DEATHS_TO_SPLIT:
                run.ledger.suspects.append(entry)
            else:
                self._take_apart(entry)

    def _take_apart(self, entry: Entry) -> None:
        """Split a task that has killed three workers, or put its only key aside."""
        run, task, looks_up = self.run, entry.task, entry.task.work == LOOK_UP
        words = [] if looks_up else run.setup.filters.scan_words
        control = run.controls[looks_up][task.node] if run.controls else None
        if take_apart(entry, run.ledger, control, words):
            return
        run.ledger.ranges_done += 1
        if task.counted:
            run.say("a key kills the workers that read it: it is put aside")
            run.ledger.totals.setdefault(task.scope, Counts()).add(Counts(aside=1))
            (run.live or run.aside).add(Aside(task.keys[0], task.db, "unknown", 0, f"killed {DEATHS_TO_SPLIT} workers"))
            if run.supply:
                run.supply.lost(task)
