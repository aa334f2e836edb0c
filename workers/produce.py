"""Lanes that do not copy: they list the keys of a database, sift keys, or write a synthetic data set.

They have the shape of `lane.Lane`: `go`, `stop`, `news`, `ended`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conn import Lost
from .cursor import RING
from .errors import RunError
from .filters import Filters
from .link import Link
from .policy import Action, first_error, rule_for
from .scan import Found, RangeScan
from .sieve import Sieve
from .synth import Spec, block
from .task import Counts, Progress, Task

#: Batches of keys on their way up, until the coordinator grants more.
LIST_CREDIT = 8
#: Blocks of a synthetic data set between request and acknowledgement.
BLOCKS_OPEN = 3

Changed = Callable[[Any], None]


class ListLane:
    """Hands up the keys of a database whose cursors cannot be split, batch by batch, as credit allows."""

    def __init__(self, task: Task, link: Link, scan_count: int, changed: Changed, filters: Filters) -> None:
        self.task, self.link, self.changed = task, link, changed
        self.credit = LIST_CREDIT
        self.stopping = False
        self._batches: list[list[bytes]] = []
        self.scan = RangeScan(link, task, scan_count, self._found, lambda why: None, filters.scan_words)

    def go(self) -> None:
        """Ask for the next batch while there is credit."""
        if self.credit > 0 and not (self.scan.asking or self.scan.done or self.stopping):
            self.scan.ask()
        if self.ended:
            self.changed(self)

    def stop(self) -> None:
        """Ask for nothing more."""
        self.stopping = True
        self.go()

    def grant(self, batches: int) -> None:
        """So many more batches may come up."""
        self.credit += batches
        self.go()

    @property
    def ended(self) -> bool:
        """The scan is over."""
        return not self.scan.asking and (self.scan.done or self.stopping)

    def _found(self, found: Found) -> None:
        if found.keys:
            self.credit -= 1
            self._batches.append(found.keys)
        self.changed(self)
        self.go()

    def news(self, last: bool = False) -> list[Progress]:
        """The batches since the last call, and the end."""
        news = [Progress(self.task.id, 0, Counts(), listed=batch) for batch in self._batches]
        self._batches = []
        if self.ended:
            position = RING if self.scan.done else 0
            news.append(Progress(self.task.id, position, Counts(), finished=self.scan.done))
        return news


class SiftLane:
    """Hands up those of the task's keys that pass the filters."""

    def __init__(self, task: Task, link: Link, changed: Changed, filters: Filters) -> None:
        self.task, self.link, self.changed = task, link, changed
        self.sieve = Sieve(link, filters)
        self.asking = self.stopping = False
        self._passed: list[bytes] | None = None
        self._counts = Counts()

    def go(self) -> None:
        """Ask about the keys, once."""
        if not (self.asking or self.stopping or self._passed is not None):
            self.asking = True
            self.sieve.sift(self.task.keys, self._sifted)
        elif self.ended:
            self.changed(self)

    def stop(self) -> None:
        """Ask no more."""
        self.stopping = True
        self.go()

    @property
    def ended(self) -> bool:
        """The keys are sifted, or will not be."""
        return not self.asking and (self.stopping or self._passed is not None)

    def _sifted(self, keys: list[bytes], counts: Counts) -> None:
        self.asking = False
        self._passed, self._counts = keys, counts
        self.changed(self)

    def news(self, last: bool = False) -> list[Progress]:
        """All at once, at the end."""
        if not self.ended:
            return []
        finished = self._passed is not None
        return [Progress(self.task.id, RING, self._counts, finished=finished, listed=self._passed)]


class GenerateLane:
    """Writes blocks [start, end) of a synthetic data set."""

    def __init__(self, task: Task, link: Link, spec: Spec, changed: Changed) -> None:
        self.task, self.link, self.spec, self.changed = task, link, spec, changed
        self.next = self.acknowledged = task.start
        self.open = 0
        self.stopping = False
        self._counts = Counts()

    def go(self) -> None:
        """Write blocks while there are any; the sink answers in order."""
        while self.open < BLOCKS_OPEN and self.next < self.task.end and not self.stopping:
            self.open += 1
            self._write(self.next)
            self.next += 1
        if self.ended:
            self.changed(self)

    def stop(self) -> None:
        """Write nothing more; what is on its way is finished."""
        self.stopping = True
        self.go()

    @property
    def ended(self) -> bool:
        """Nothing is on its way, and nothing more will be written."""
        return not self.open and (self.stopping or self.next >= self.task.end)

    def _write(self, number: int) -> None:
        made = block(self.spec, number)
        sink = self.link.router.sinks[0]

        def written(replies: list) -> None:
            error = first_error(replies)
            if error is not None:
                rule = rule_for(error)
                if rule.action is not Action.WAIT:
                    address = sink.conn.endpoint.address
                    raise Lost(RunError(f"{rule.reason}: {error}", side="target", address=address, hint=rule.hint))
                return self.link.trouble("target", 0, error, lambda: sink.write(made.requests, made.replies, written))
            self.open -= 1
            self.acknowledged += 1
            self._counts.add(Counts(copied=made.keys, bytes=made.value_bytes))
            self.go()

        sink.write(made.requests, made.replies, written)

    def news(self, last: bool = False) -> list[Progress]:
        """What was acknowledged since the last call: nothing or one."""
        if not self._counts.copied and not self.ended:
            return []
        news = Progress(self.task.id, self.acknowledged, self._counts, finished=self.acknowledged == self.task.end)
        self._counts = Counts()
        return [news]
