"""One scanner in place of many ranges, for a database whose cursors cannot be split.

It hands up names, and they become tasks for all workers. Ranges that were under way when that came out are given up:
what they report counts no more, but they go on to their ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .crew import Crew, Worker
from .ledger import Ledger
from .workers.cursor import RING
from .workers.setup import Order, Setup
from .workers.task import COPY_KEYS, COPY_RANGE, LIST_KEYS, LOOK_UP, Scope, Task


class Scanners:
    """`restarted`: databases that were begun again with one scanner, and why."""

    def __init__(self, setup: Setup, ledger: Ledger, crew: Crew, say: Callable[[str], None]) -> None:
        self.restarted: dict[Scope, str] = {}
        self._sources, self._targets = setup.sources, setup.targets
        self._keeps_existing = setup.on_conflict != "replace"
        self._links = setup.links
        self._ledger, self._crew, self._say = ledger, crew, say
        self._scanning: dict[tuple[Scope, str], Worker] = {}

    def take_over(self, task: Task, why: str) -> None:
        """Give up the pass of a database, and begin it again with one scanner."""
        nodes = self._targets if task.work == LOOK_UP else self._sources
        node = f"{nodes[task.node].endpoint.address} " if len(nodes) > 1 else ""
        cause = f" ({why})" if why else ""  # known since it was planned, where a scanner is lost
        self._say(f"{node}db {task.scanned_db}: its cursors cannot be split{cause}: it is read again by one scanner")
        self._ledger.forget(task.scope, task.work)
        whole: dict[str, Any] = {"start": 0, "end": RING, "checked": False, "keys": [], "by_slot": False}
        whole |= {"no_expiries": False, "no_field_expiries": False}
        self._ledger.add(replace(task, kind=LIST_KEYS, own=True, **whole))

    def listed(self, worker: Worker, task: Task, keys: list[bytes]) -> None:
        """A worker has handed up names: of a scanner, or of a range that leaves them for the end."""
        if task.kind == COPY_RANGE:
            again = replace(task, kind=COPY_KEYS, keys=keys, counted=False, own=True)
            return self._ledger.put_off.append(again)
        self._scanning[task.scope, task.work] = worker
        self._ledger.add(replace(task, kind=COPY_KEYS, keys=keys))

    def copied(self, task: Task) -> None:
        """A batch of a scanner's keys is copied: it may hand up another one."""
        scanning = self._scanning.get((task.scope, task.work))
        if scanning in self._crew.workers:
            scanning.seat.send(Order(credit=1))

    def has_to_wait(self, task: Task) -> bool:
        """Whether a task is a scanner that must not begin yet. What stands behind it need not wait."""
        return task.kind == LIST_KEYS and (self._has_no_room(task) or self._meets_ranges_given_up())

    def _has_no_room(self, task: Task) -> bool:
        """Whether a worker could have all its links held by scanners.

        The names of another one would have to wait there for a link, and their scanner for them (`workers/links.py`).
        """
        at_work = [entry.task for entry in self._ledger.given.values() if entry.task.kind == LIST_KEYS]
        here = sum(other.node == task.node for other in at_work)
        ways = {_way_of(other) for other in [*at_work, task]}
        return here >= self._links or len(ways) > self._links

    def _meets_ranges_given_up(self) -> bool:
        """Whether a scanner would write keys that ranges given up, and still under way, would take for others'."""
        if not self._keeps_existing:
            return False
        given = self._ledger.given.keys()
        return any(not worker.tasks <= given for worker in self._crew.workers)


def _way_of(task: Task) -> tuple[bool, int]:
    """Where its keys lead: to which side, and to which database there."""
    turned = task.work == LOOK_UP
    return turned, task.db if turned else task.target_db
