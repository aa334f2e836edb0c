"""Who does what, and what has been acknowledged: the account that makes every key count once.

A task's figures are added to the totals only as far as its acknowledged position goes, because from there another
worker begins again when the first one dies. Tasks whose position tells nothing (a scan with opaque cursors) begin
again from their start, so theirs are kept back until they are finished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .workers.cursor import RING, expected_keys
from .workers.finding import Finding
from .workers.news import Aside, Counts, Progress
from .workers.task import CHURN, COPY_KEYS, COPY_RANGE, LIST_KEYS, LOOK_UP, SOURCELESS, Scope, Task

#: A range that has killed so many workers is taken apart until the key is found.
DEATHS_TO_SPLIT = 3
#: A range with at most so many expected keys is split by key, a larger one in the middle.
KEYS_TO_LIST = 10_000


@dataclass
class Entry:
    """One task on the account."""

    task: Task
    position: int
    deaths: int = 0
    unsettled: Counts = field(default_factory=Counts)  # acknowledged, but would be done again
    asides: list[Aside | Finding] = field(default_factory=list)  # records of keys, for the one who keeps them
    lost: Any = None  # of a live copy: names that a dead worker had (`live.py`)

    @property
    def restarts(self) -> bool:
        """Whether another worker would have to begin from the task's start."""
        return not (self.task.kind in SOURCELESS or (self.task.kind == COPY_RANGE and self.task.checked))


class Ledger:
    """Tasks waiting, tasks given out, and the totals of what is acknowledged for good, by scope."""

    def __init__(self, tasks: list[Task]) -> None:
        self.waiting: deque[Entry] = deque(Entry(task, task.start) for task in tasks)
        self.put_off: list[Task] = []  # when nothing else is left
        self.suspects: deque[Entry] = deque()  # one of them killed a worker: each is tried alone
        self.given: dict[int, Entry] = {}
        self.totals: dict[Scope, Counts] = {}
        self.next_id = len(tasks)
        self.ranges = len(tasks)
        self.ranges_done = 0
        self.reached = 0  # the highest position of all news
        self.looks_up_besides = False  # keys are copied, and those of the target looked up

    @property
    def finished(self) -> bool:
        """Nothing is left to do."""
        return not (self.waiting or self.suspects or self.given or self.put_off)

    def bring_up_what_was_put_off(self) -> None:
        """Queue the tasks that were put off, if it is their turn."""
        if not (self.waiting or self.suspects or self.given):
            tasks, self.put_off = self.put_off, []
            for task in tasks:
                self.add(task)

    @property
    def total(self) -> Counts:
        """What is acknowledged, in all databases, including what might be done again."""
        total = Counts()
        for counts in self.totals.values():
            total.add(counts)
        for entry in self.given.values():
            if self._counts(entry.task):
                total.add(entry.unsettled)
        return total

    def _counts(self, task: Task) -> bool:
        """Whether a task's figures are those of keys that are copied, in a run that does both."""
        return not (self.looks_up_besides and task.work == LOOK_UP)

    def copies(self, task_id: int) -> bool:
        """Whether a worker that was given this task copies keys for it, be it for a pass that was given up."""
        entry = self.given.get(task_id)
        return entry is None or entry.task.kind != LIST_KEYS

    def give(self, entry: Entry) -> Task:
        """Note that a worker has the task from now on."""
        self.given[entry.task.id] = entry
        return entry.task

    def add(self, task: Task) -> None:
        """Put a new task into the queue, under a new number."""
        task.id = self.next_id
        self.next_id += 1
        self.ranges += 1
        self.waiting.append(Entry(task, task.start))

    def acknowledge(self, news: Progress) -> list[Aside | Finding]:
        """Take in a worker's news; the records of keys that are now put aside, or found to differ, for good."""
        entry = self.given.get(news.task)
        if entry is None:
            return []  # of a pass that was given up
        entry.unsettled.add(news.counts)
        entry.asides += news.asides
        entry.asides += news.findings
        moved = news.position > entry.position
        entry.position = news.position
        self.reached = max(self.reached, news.position)
        if not (news.finished or (moved and not entry.restarts)):
            return []
        if news.finished:
            self.ranges_done += 1
            del self.given[news.task]
        if self._counts(entry.task):
            self.totals.setdefault(entry.task.scope, Counts()).add(entry.unsettled)
        asides, entry.unsettled, entry.asides = entry.asides, Counts(), []
        return asides

    def take_back(self, ids: set[int], killed: bool) -> list[Entry]:
        """The entries of a worker that is gone, as they have to be done again; `killed`: they may be the cause."""
        entries = [self.given.pop(task_id) for task_id in ids if task_id in self.given]
        for entry in entries:
            entry.unsettled, entry.asides = Counts(), []
            task = entry.task
            start = task.start if entry.restarts else entry.position
            entry.task = Task(**task.__dict__ | {"start": start, "id": self.next_id, "own": True})
            entry.position = start
            entry.deaths += killed and task.kind != CHURN  # no stretch of time is to blame
            self.next_id += 1
        return entries

    def close(self, held: list[Entry]) -> None:
        """The run is over: queue again what workers had; `held` are entries that were kept back from all."""
        self.waiting += [*self.take_back(set(self.given), killed=False), *held]

    def go_on(self, before: Ledger, nodes: Mapping[int, int]) -> None:
        """Take over what an earlier run, closed by now, has left of some nodes ({its number: ours}), for our tasks."""
        ours = set(nodes.values())
        self.waiting = deque(entry for entry in self.waiting if entry.task.node not in ours)
        self.totals |= {(nodes[node], db): counts for (node, db), counts in before.totals.items() if node in nodes}
        self.put_off += [replace(task, node=nodes[task.node]) for task in before.put_off if task.node in nodes]
        for queue, theirs in ((self.waiting, before.waiting), (self.suspects, before.suspects)):
            for entry in [entry for entry in theirs if entry.task.node in nodes]:
                task = replace(entry.task, node=nodes[entry.task.node], id=self.next_id, own=True)
                self.next_id += 1
                queue.append(Entry(task, entry.position, entry.deaths))
        self.ranges = len(self.waiting) + len(self.suspects)

    def split(self, entry: Entry, keys: list[bytes] | None) -> None:
        """Put the halves of a task that kills workers among the suspects, each a death short of the next split.

        `keys` are those of its range, where it is small enough to be named key by key.
        """
        task = entry.task
        self.ranges -= 1
        if keys is not None:
            middle = len(keys) // 2
            halves = [half for half in (keys[:middle], keys[middle:]) if half]
            kind = COPY_KEYS if task.kind == COPY_RANGE else task.kind
            parts: list[dict[str, Any]] = [{"kind": kind, "keys": half} for half in halves]
        else:
            middle = (task.start + task.end) // 2
            parts = [{"end": middle}, {"start": middle}]
        for part in parts:
            self.suspect(Task(**task.__dict__ | part))

    def suspect(self, task: Task) -> None:
        """Put a task among the suspects, under a new number.

        A part that kills is split again at once. A single key has to kill three times, as that condemns it.
        """
        task.id = self.next_id
        self.next_id += 1
        self.ranges += 1
        self.suspects.append(Entry(task, task.start, deaths=0 if len(task.keys) == 1 else DEATHS_TO_SPLIT - 1))

    def left_aside(self) -> list[Aside | Finding]:
        """Keys put aside by tasks that nobody will go on with; each once."""
        asides = [aside for entry in self.given.values() for aside in entry.asides]
        for entry in self.given.values():
            entry.asides = []
        return asides

    def forget(self, scope: Scope, work: str) -> None:
        """Drop everything about a database of a node whose pass begins again."""
        others = lambda task: task.scope != scope or task.work != work  # noqa: E731
        self.waiting = deque(entry for entry in self.waiting if others(entry.task))
        self.put_off = [task for task in self.put_off if others(task)]
        self.suspects = deque(entry for entry in self.suspects if others(entry.task))
        self.given = {task_id: entry for task_id, entry in self.given.items() if others(entry.task)}
        if work != LOOK_UP or not self.looks_up_besides:
            self.totals.pop(scope, None)


def small_enough_to_list(task: Task) -> bool:
    """Whether a range's keys can be named one by one."""
    return expected_keys(task.start, min(task.end, RING), task.db_keys) <= KEYS_TO_LIST
