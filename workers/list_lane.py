"""A lane that does not copy: it hands up the names of a database's keys. It has the shape of `lane.Lane`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cursor import RING
from .filters import Filters
from .link import Link
from .news import Counts, Progress
from .scan import Found, RangeScan
from .task import Task

#: Batches of keys on their way up, until the coordinator grants more.
LIST_CREDIT = 8


class ListLane:
    """Hands up the keys of a database whose cursors cannot be split, batch by batch, as credit allows."""

    def __init__(
        self, task: Task, link: Link, scan_count: int, changed: Callable[[Any], None], filters: Filters
    ) -> None:
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
