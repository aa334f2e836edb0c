"""A lane that does not copy: it hands up those keys of its task that pass the filters. The shape is `lane.Lane`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cursor import RING
from .filters import Filters
from .link import Link
from .news import Counts, Progress
from .sieve import Sieve
from .task import COMPARE, Task


class SiftLane:
    """Hands up those of the task's keys that pass the filters."""

    def __init__(self, task: Task, link: Link, changed: Callable[[Any], None], filters: Filters) -> None:
        self.task, self.link, self.changed = task, link, changed
        self.sieve = Sieve(link, filters, gone_pass=link.named and task.work == COMPARE)
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
