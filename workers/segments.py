"""The segments of a lane: keys that came together, in order, and how far they are.

What is reported as acknowledged is the low-water mark: everything before the first segment with an open window.
Counters travel with it, so that a range which another worker takes over is counted once. Only of the segment at the
mark they are told earlier, where it takes long: the mark has not moved then, so its figures go when its worker dies.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from .finding import Finding
from .news import Aside, Counts, Progress
from .scan import Found
from .task import COPY_KEYS, COPY_RANGE, Task

#: Figures of a segment that is not through yet are told so often.
PART_S = 1.0


@dataclass
class Segment:
    """Keys of one SCAN reply, or the names in a task."""

    found: Found
    opened: int = 0  # keys given to windows
    open: int = 0  # windows not settled
    put_off: bool = False  # the keys go up in the report, to be copied when all ranges are done
    counts: Counts = field(default_factory=Counts)
    asides: list[Aside] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # of the next keys, where they were asked for
    sizing: bool = False  # sizes are on their way

    @property
    def unopened(self) -> int:
        """Keys that no window has been given."""
        return len(self.found.keys) - self.opened

    @property
    def settled(self) -> bool:
        """Every key has its outcome."""
        return not self.open and not self.unopened

    def next_keys(self, count: int) -> list[bytes]:
        """Give the next keys to a window."""
        keys = self.found.keys[self.opened : self.opened + count]
        self.opened += count
        self.open += 1
        del self.sizes[:count]
        return keys


class Segments:
    """Those of one task that are not reported yet, oldest first."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._waiting: deque[Segment] = deque()
        self._news = Progress(task.id, task.start, Counts())
        self._tells_parts = task.kind in (COPY_RANGE, COPY_KEYS)
        self._told_at = time.monotonic()

    def add(self, found: Found) -> Segment:
        """A new one, after all others."""
        self._waiting.append(Segment(found))
        return self._waiting[-1]

    @property
    def unopened(self) -> Segment | None:
        """The oldest one that has keys for a window."""
        return next((segment for segment in self._waiting if segment.unopened), None)

    def news(self, ended: bool, finished: bool, opaque: str, all_of_them: bool) -> list[Progress]:
        """What was acknowledged since the last call, if anything was.

        The lane has `ended`, and `finished` says whether its keys all have an outcome: that is not so where it was
        stopped before it has given all of them to windows. `all_of_them`: the lane does not go on with what is left of
        the task, so single windows are told of, too: by news of their own, in which the position stays. Whoever goes
        on with the task does these windows again.
        """
        found: list[Progress] = []
        before, now = self._news.position, time.monotonic()
        while self._first_is_done():
            segment = self._waiting.popleft()
            self._news.position = segment.found.position
            self._acknowledge(segment)
        if self._news.position == before and now - self._told_at > PART_S and not all_of_them:
            self._tell_a_part()
        if self._news.position != before or self._news.counts.read or ended:
            self._told_at = now
            found.append(self._taken(ended and finished, opaque))
        if all_of_them and self._waiting:
            for segment in self._waiting:
                self._acknowledge(segment)
            self._waiting.clear()
            found.append(self._taken(False, ""))
        return found

    def _taken(self, finished: bool, opaque: str) -> Progress:
        news, self._news = self._news, Progress(self._task.id, self._news.position, Counts())
        news.finished, news.opaque = finished, opaque
        return news

    def _acknowledge(self, segment: Segment) -> None:
        self._news.counts.add(segment.counts)
        self._news.asides += segment.asides
        self._news.findings += segment.findings
        if segment.put_off:
            self._news.listed = segment.found.keys

    def _tell_a_part(self) -> None:
        """Tell what is settled of the first segment, once; nothing of others, as the position may pass this one."""
        first = self._waiting[0] if self._waiting and self._tells_parts else None
        if first and not first.put_off:
            self._acknowledge(first)
            first.counts, first.asides, first.findings = Counts(), [], []

    def _first_is_done(self) -> bool:
        """Whether the oldest segment can be acknowledged; the parts of one reply are acknowledged together."""
        if not self._waiting or not self._waiting[0].settled:
            return False
        return not self._waiting[0].found.part or (len(self._waiting) > 1 and self._waiting[1].settled)
