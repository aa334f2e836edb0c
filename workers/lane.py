"""A lane: one task being copied, a few windows at a time.

Several lanes share the worker's connections, so that the round trip of one is filled by the work of the others.
A lane's keys come in segments (one SCAN reply each, or the names in the task); what passes the filters is split into
windows.
What is reported as acknowledged is the low-water mark: everything before the first segment with an open window.
Counters travel with it, so that a range which another worker takes over is counted once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .careful import Careful
from .choose import Chooser
from .cursor import RING
from .filters import Filters
from .link import Link
from .pace import Pace
from .scan import Found, RangeScan
from .sieve import Sieve
from .task import COPY_RANGE, Aside, Counts, Progress, Task
from .window import Window

#: Windows between their first request and their last acknowledgement; two keep both servers busy.
DEPTH = 2

ALL = Filters()


@dataclass
class _Segment:
    """Keys that come together, and how far they are."""

    found: Found
    opened: int = 0  # keys given to windows
    open: int = 0  # windows not settled
    counts: Counts = field(default_factory=Counts)
    asides: list[Aside] = field(default_factory=list)

    @property
    def unopened(self) -> int:
        return len(self.found.keys) - self.opened

    @property
    def settled(self) -> bool:
        return not self.open and not self.unopened


class Lane:
    """Copies the keys of one COPY_RANGE or COPY_KEYS task; `changed(self)` is called when there is news at its end."""

    def __init__(
        self,
        task: Task,
        link: Link,
        chooser: Chooser,
        scan_count: int,
        changed: Callable[[Lane], None],
        pace: Pace | None = None,
        filters: Filters = ALL,
    ) -> None:
        self.task, self.link, self.chooser, self.changed, self.pace = task, link, chooser, changed, pace
        self.segments: deque[_Segment] = deque()
        self.open = 0
        self.stopping = False
        self.opaque = ""
        self._news = Progress(task.id, task.start, Counts())
        self.scan: RangeScan | None = None
        self.sieve = Sieve(link, filters) if filters.sifts and not task.sifted else None
        self._names: list[bytes] | None = None  # of a COPY_KEYS task, until it begins
        if task.kind == COPY_RANGE:
            self.scan = RangeScan(link, task, scan_count, self._found, self._opaque, filters.scan_words)
        else:
            self._names = task.keys

    # ---- driving --------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Open windows while there are keys, and ask for keys when there are none."""
        if self._names is not None and not self.stopping:
            names, self._names = self._names, None
            return self._found(Found(names, RING, elsewhere=not self.task.counted))
        while self._may_open() and (segment := self._unopened()):
            if self.pace and not self.pace.admits(self):
                break
            self._open_window(segment)
        scan = self.scan
        may_ask = self._may_open() and not self._unopened()
        if scan and may_ask and not scan.asking and not scan.done:
            scan.ask()
        if self.ended:
            self.changed(self)

    def _may_open(self) -> bool:
        return self.open < DEPTH and not self.stopping and not self.link.has_suspects

    def stop(self) -> None:
        """Open nothing more; what is open is finished."""
        self.stopping = True
        self.go()

    @property
    def ended(self) -> bool:
        """Nothing is on its way, and nothing more will be asked for."""
        if self.open or (self.scan and self.scan.asking and not self.opaque):
            return False
        return bool(self.stopping or self.opaque or self.finished)

    @property
    def finished(self) -> bool:
        """Every key of the task has its outcome."""
        if self.open or self.opaque or self._names is not None:
            return False
        return (not self.scan or self.scan.done) and not self._unopened()

    def _unopened(self) -> _Segment | None:
        return next((segment for segment in self.segments if segment.unopened), None)

    # ---- keys -----------------------------------------------------------------------------------------------

    def _found(self, found: Found) -> None:
        segment = _Segment(found)
        self.segments.append(segment)
        if self.sieve and found.keys:
            # Until it is known which keys pass, the segment is like one with an open window.
            segment.found = replace(found, keys=[])
            segment.open += 1
            self.open += 1
            self.sieve.sift(found.keys, lambda keys, counts: self._sifted(segment, keys, counts))
        else:
            self.go()

    def _sifted(self, segment: _Segment, keys: list[bytes], counts: Counts) -> None:
        segment.open -= 1
        self.open -= 1
        elsewhere = segment.found.elsewhere
        segment.counts.add(Counts(again=counts.read) if elsewhere else counts)
        segment.found = replace(segment.found, keys=keys)
        self.go()

    def _opaque(self, why: str) -> None:
        self.opaque = why
        self.go()

    # ---- windows --------------------------------------------------------------------------------------------

    def _open_window(self, segment: _Segment) -> None:
        most = self.pace.window_keys(self.chooser) if self.pace else self.chooser.keys
        keys = segment.found.keys[segment.opened : segment.opened + most]
        paid = self.pace.open(len(keys), self.chooser.value_bytes) if self.pace else 0
        segment.opened += len(keys)
        segment.open += 1
        self.open += 1
        self.link.open += 1
        method = self.chooser.method
        if segment.found.elsewhere:
            strings_first = self.chooser.policy != "dump"
            Careful(self.link, keys, strings_first, lambda c: self._settled(segment, c, paid), counted=False).start()
        else:
            Window(self.link, keys, method, lambda w: self._settled(segment, w, paid)).start()

    def _settled(self, segment: _Segment, window: Window | Careful, paid: float) -> None:
        segment.open -= 1
        self.open -= 1
        segment.counts.add(window.counts)
        segment.asides += window.asides
        self.chooser.learn(window.counts.copied, window.strings, window.counts.bytes)
        self.link.closed(window.alone)
        if self.pace:
            self.pace.settle(paid, window.counts.bytes)
        self.go()

    # ---- news -----------------------------------------------------------------------------------------------

    def news(self, last: bool = False) -> list[Progress]:
        """What was acknowledged since the last call: nothing or one.

        The `last` news of a lane that stops half-way, and that nobody will go on with, tell of single windows too.
        """
        before = self._news.position
        while self._first_is_done():
            segment = self.segments.popleft()
            self._news.position = segment.found.position
            self._add(segment)
        if last or (self.ended and self.stopping):
            for segment in self.segments:
                self._add(segment)
            self.segments.clear()
        if self._news.position == before and not self._news.counts.read and not self.ended:
            return []
        news, self._news = self._news, Progress(self.task.id, self._news.position, Counts())
        news.finished = self.ended and self.finished
        news.opaque = self.opaque
        return [news]

    def _add(self, segment: _Segment) -> None:
        self._news.counts.add(segment.counts)
        self._news.asides += segment.asides

    def _first_is_done(self) -> bool:
        """Whether the oldest segment can be acknowledged; the parts of one reply are acknowledged together."""
        if not self.segments or not self.segments[0].settled:
            return False
        return not self.segments[0].found.part or (len(self.segments) > 1 and self.segments[1].settled)
