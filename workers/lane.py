"""A lane: one task being copied, a few windows at a time.

Several lanes share the worker's connections, so that the round trip of one is filled by the work of the others.
A lane's keys come in segments (one SCAN reply each, or the names in the task); what passes the filters is split into
windows. What is acknowledged: `segments.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from .adapt import Meter
from .barrier import Windows
from .budget import fitting, sizes_of, sizes_request
from .choose import Chooser
from .compare import Comparison, QuickComparison
from .conflict import Look, Recent
from .cursor import RING
from .filters import Filters
from .guarded import Guarded
from .link import Link
from .lookup import LookUp, Prune, Recheck
from .news import Counts, Progress
from .pace import Pace
from .policy import Action, first_error, rule_for
from .replies import Way
from .resp import arguments
from .scan import Found, RangeScan
from .scope import scope_of
from .segments import Segment, Segments
from .sieve import Sieve
from .splicing import Splicing
from .task import COMPARE, COPY, COPY_RANGE, LOOK_UP, PRUNE, RECHECK, Task
from .window import Window

#: Windows between their first request and their last acknowledgement; two keep both servers busy.
DEPTH = 2

ALL = Filters()


class Lane:
    """Copies, or compares, the keys of one COPY_RANGE or COPY_KEYS task; `changed(self)` tells that it has ended."""

    def __init__(
        self,
        task: Task,
        link: Link,
        chooser: Chooser,
        meter: Meter,
        scan_count: int,
        changed: Callable[[Lane], None],
        pace: Pace | None = None,
        filters: Filters = ALL,
        windows: Windows | None = None,
        ours: bool = False,
    ) -> None:
        self.task, self.link, self.chooser, self.meter = task, link, chooser, meter
        self.scan_count, self.changed, self.pace = scan_count, changed, pace
        self.windows = windows  # those of the whole worker, where barriers have to know them
        self.segments = Segments(task)
        self.open = 0
        self.scan_bytes = 0  # what the SCAN on its way is expected to bring
        self.stopping = False
        self.opaque = ""
        self.recent = Recent()  # keys that are written, where none may be replaced
        self.scan: RangeScan | None = None
        self.filters = filters
        # Lookups read copies; the source is then asked by the filters as they are. What we have written ourselves may
        # be larger at the target, by its MEMORY USAGE, than what was chosen.
        copies = (filters.of_any_size if ours else filters).of_copies(link.ahead_ms)
        chosen = copies if task.work == LOOK_UP else filters
        named = link.named and task.work == COMPARE
        self.sieve = Sieve(link, chosen, named) if filters.sifts and not task.sifted else None
        # Where changes are followed, nothing may be written that does not pass by the time it is read.
        self.scope = scope_of(filters, link.clock) if windows else None
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
        while self._may_open() and (segment := self.segments.unopened):
            if not self._open_window(segment):
                break
        scan = self.scan
        may_ask = self._may_open() and not self.segments.unopened
        if scan and may_ask and not scan.asking and not scan.done:
            self._ask_keys(scan)
        if self.ended:
            self.changed(self)

    def _may_open(self) -> bool:
        return self.open < DEPTH and not self.stopping and not self.link.suspects

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
        return (not self.scan or self.scan.done) and not self.segments.unopened

    # ---- keys -----------------------------------------------------------------------------------------------

    def _ask_keys(self, scan: RangeScan) -> None:
        count = self.chooser.scan_count(self.scan_count)
        size = int(count * self.chooser.name_bytes)
        if self.chooser.budget.take(size, self.go):
            self.scan_bytes, scan.count = size, count
            scan.ask()

    def _told_keys(self) -> None:
        size, self.scan_bytes = self.scan_bytes, 0
        self.chooser.budget.give(size)

    def _found(self, found: Found) -> None:
        segment = self.segments.add(found)
        self.chooser.learn_names(found.keys)
        self._told_keys()
        if not self.sieve or not found.keys:
            return self._admit(segment)
        # Until it is known which keys pass, the segment is like one with an open window.
        segment.found = replace(found, keys=[])
        segment.open += 1
        self.open += 1
        self.sieve.sift(found.keys, lambda keys, counts: self._sifted(segment, keys, counts))

    def _sifted(self, segment: Segment, keys: list[bytes], counts: Counts) -> None:
        segment.open -= 1
        self.open -= 1
        elsewhere = segment.found.elsewhere
        segment.counts.add(Counts(again=counts.read) if elsewhere else counts)
        segment.found = replace(segment.found, keys=keys)
        self._admit(segment)

    def _admit(self, segment: Segment) -> None:
        """Windows may be opened on the segment, once keys that must stay as they are have been left out."""
        found = segment.found
        if self.link.keeps_existing and found.elsewhere and self.scan:
            segment.put_off, segment.opened = True, len(found.keys)
        elif self.link.keeps_existing and found.keys and not self.task.own:
            self._look(segment)
        self.go()

    def _look(self, segment: Segment) -> None:
        """Leave out the keys that exist at the target; until it has told, none is opened."""
        keys = segment.found.keys

        def told(absent: list[bytes]) -> None:
            again = len(self.recent.keys() & set(keys).difference(absent))
            segment.counts.add(Counts(skipped=len(keys) - len(absent) - again, again=again))
            self.recent.note(absent)
            segment.found, segment.opened = replace(segment.found, keys=absent), 0
            segment.open -= 1
            self.open -= 1
            self.go()

        segment.opened = len(keys)
        segment.open += 1
        self.open += 1
        Look(self.link, keys, told, self.recent).start()

    def _opaque(self, why: str) -> None:
        self.opaque = why
        self._told_keys()
        self.go()

    # ---- windows --------------------------------------------------------------------------------------------

    def _open_window(self, segment: Segment) -> bool:
        """Open a window on the segment's next keys; False where it has to wait: for their sizes, a limit, or memory."""
        chooser, pace = self.chooser, self.pace
        if pace and not pace.admits(self):
            return False
        most = pace.window_keys(chooser) if pace else chooser.keys
        if chooser.sizes_first and not segment.sizes:
            self._ask_sizes(segment)
            return False
        if segment.sizes:  # also where they have been asked for before small values came
            count, size = fitting(segment.sizes, most, chooser.budget.window_bytes)
        else:
            count = min(most, segment.unopened)
            size = chooser.window_bytes(count)
        if not chooser.budget.take(size, self.go):
            return False
        paid = pace.open(count, chooser.value_bytes) if pace else 0
        self.open += 1
        self.link.suspects.opened()
        opened_at = time.monotonic()
        self._start_window(segment, count, size, lambda window: self._settled(segment, window, size, paid, opened_at))
        return True

    def _start_window(self, segment: Segment, count: int, size: int, settled: Callable[[Any], None]) -> None:
        """Open a window on so many keys, which is expected to bring so many bytes."""
        keys = segment.next_keys(count)
        work, counted = self.task.work, not segment.found.elsewhere
        too_much = size > self.chooser.budget.limit
        settled = self._registered(keys, settled) if work == COPY else settled
        if work == COMPARE:
            compare = QuickComparison if self.link.quick else Comparison
            comparing = compare(self.link, keys, self.chooser.method, settled, counted)
            comparing.too_much = too_much
            comparing.start()
        elif work == LOOK_UP:
            LookUp(self.link, keys, self.filters, settled, counted).start()
        elif work in (RECHECK, PRUNE):
            kind = Prune if work == PRUNE else Recheck
            kind(self.link, keys, self.filters, settled).start()
        else:
            splices = self.link.splices and not self.scope
            copies = Guarded if self.link.keeps_existing else Splicing if splices else Window
            told = settled if counted else partial(_counted_elsewhere, settled)
            copying = copies(self.link, keys, self.chooser.method, told)
            copying.usual_bytes = self.chooser.usual_bytes(count)
            copying.too_much, copying.scope = too_much, self.scope
            copying.scanned = self.scan is not None and self.task.by_slot
            copying.start()

    def _registered(self, keys: list[bytes], settled: Callable[[Any], None]) -> Callable[[Any], None]:
        """Note that a window is about to be opened; what is to be called when it is settled."""
        if self.windows is None:
            return settled
        number = self._opened(keys)

        def closed(window: Any) -> None:
            self._closed(number)
            settled(window)

        return closed

    def _opened(self, keys: list[bytes]) -> int:
        return self.windows.opened(self.task.db, keys) if self.windows else 0

    def _closed(self, number: int) -> None:
        if self.windows:
            self.windows.closed(number)

    def _ask_sizes(self, segment: Segment) -> None:
        """Ask how large the next keys are, as many as the next windows may take."""
        if segment.sizing:
            return
        segment.sizing = True
        begin = segment.opened
        keys = segment.found.keys[begin : begin + DEPTH * self.chooser.keys]

        def told(replies: list) -> None:
            segment.sizing = False
            error = first_error(replies)
            if error is not None and rule_for(error).action is Action.WAIT:
                return self.link.trouble("source", 0, error, self.go)
            sizes = sizes_of(replies, unknown=self.chooser.budget.window_bytes)
            segment.sizes = sizes[segment.opened - begin :]  # some keys may have been opened without them
            self.go()

        self.link.reader.ask(*sizes_request(arguments(keys)), told, Way.MARKED)

    def _settled(self, segment: Segment, window: Any, size: int, paid: float, opened_at: float) -> None:
        segment.open -= 1
        self.open -= 1
        segment.counts.add(window.counts)
        segment.asides += window.asides
        segment.findings += window.findings
        done = window.counts.worked
        self.chooser.learn(done, window.strings, window.counts.bytes, window.largest)
        self.meter.add(done, opened_at, time.monotonic())
        self.meter.went_on = self.meter.went_on or window.counts.tell_of_success
        self.chooser.budget.give(size)
        self.link.suspects.closed(window.alone)
        if self.pace:
            self.pace.settle(paid, window.counts.bytes)
        self.go()

    # ---- news -----------------------------------------------------------------------------------------------

    def news(self, last: bool = False) -> list[Progress]:
        """What was acknowledged since the last call.

        The `last` news of a lane that stops half-way tell of single windows too.
        """
        all_of_them = last or (self.ended and self.stopping)
        return self.segments.news(self.ended, self.finished, self.opaque, all_of_them)


def _counted_elsewhere(settled: Callable[[Any], None], window: Window) -> None:
    """The keys of a window come again, and have their outcomes there."""
    window.counts = Counts(again=window.counts.read, retried=window.counts.retried)
    window.asides = []
    settled(window)
