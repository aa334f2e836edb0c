"""A lane of keys that have changed: each is written as it is now, or removed where it is gone.

A key that exists but does not pass the filters any more, because its type, size or expiry is another by now, is gone as
far as the target is concerned: else it would stay there as it was. But one that the filters do not choose at the target
either is none of the run's (`selection.py`), whatever becomes of it at the source.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .adapt import Meter
from .barrier import Windows
from .careful import Careful
from .choose import Chooser
from .filters import Filters
from .lane import Lane
from .link import Link
from .news import Counts, Progress
from .pace import Pace
from .removal import Removal
from .resp import argument_value
from .scan import Found
from .segments import Segment
from .selection import Selection
from .task import Task
from .window import Window
from .write import Part

#: A window with so many bytes that took so long holds a key that is slow to copy.
SLOW_BYTES = 4 << 20
SLOW_S = 0.1


class LiveWindow(Window):
    """A window that knows which of its keys are gone: `gone`."""

    gone: list[bytes]
    heaviest: bytes = b""  # the key with the largest value, where that was looked for

    def start(self) -> None:
        """Send the first request."""
        self.gone = []
        super().start()

    def _write(self, parts: list[Part]) -> None:
        if sum([len(part.batch) for part in parts]) < len(self.keys):
            there: set[bytes] = set()
            for part in parts:
                there.update(part.batch.lasting.keys, part.batch.expiring.keys)
            self.gone = [key for key, encoded in zip(self.keys, self.encoded) if encoded not in there]
        if sum([part.size for part in parts]) >= SLOW_BYTES:
            rows = [row for part in parts for row in part.batch.in_order()]
            self.heaviest = argument_value(max(rows, key=lambda row: len(row[1]))[0])
        super()._write(parts)

    def _settled_carefully(self, careful: Careful) -> None:
        self.gone = careful.gone
        super()._settled_carefully(careful)


class LiveLane(Lane):
    """Copies or removes the keys of one LIVE_KEYS task.

    `rights()` are the target databases where it may remove, and those that hold nothing but what the run has written.
    """

    def __init__(
        self,
        task: Task,
        link: Link,
        chooser: Chooser,
        meter: Meter,
        scan_count: int,
        changed: Callable[[Any], None],
        pace: Pace | None,
        filters: Filters,
        windows: Windows,
        rights: Callable[[], tuple[set[int], set[int]]],
    ) -> None:
        # Names have passed already, and SCAN has not judged these keys.
        state = replace(filters, match=None, include=(), exclude=(), scan_type=False)
        super().__init__(task, link, chooser, meter, scan_count, changed, pace, state, windows)
        self.rights = rights
        self.left: list[bytes] = []  # gone at the source, and still at the target
        self.slow: list[list[Any]] = []  # [key, seconds that its copy took]
        self._judging = 0  # the window in which the source is asked which keys pass
        self._untold: list[int] = []  # windows that have found some of `left`: what is read later must be told later

    def _found(self, found: Found) -> None:
        # What the source says of a key's type, size or expiry decides whether it is removed: to ask that is to read it.
        if self.sieve and found.keys:
            self._judging = self._opened(found.keys)
        super()._found(found)

    def _sifted(self, segment: Segment, keys: list[bytes], counts: Counts) -> None:
        passed = set(keys)
        out = [key for key in self.task.keys if key not in passed]
        self._remove(out, self._judging, lambda: super(LiveLane, self)._sifted(segment, keys, counts))

    def _remove(self, keys: list[bytes], window: int, then: Callable[[], None]) -> None:
        """Remove what is gone, and close the window that has read so. Where that was not ours to do, tell it first."""

        def done(left: list[bytes]) -> None:
            self.left += left
            if left:
                self._untold.append(window)
            else:
                self._closed(window)
            then()

        def remove(chosen: list[bytes], unknown: list[bytes]) -> None:
            if not chosen:
                return done(unknown)
            told = lambda left: done(left + unknown)  # noqa: E731
            Removal(self.link, chosen, self.task.target_db in self.rights()[0], told).start()

        # What we have written ourselves may be larger at the target, by its MEMORY USAGE, than what was chosen.
        any_size = self.task.target_db in self.rights()[1]
        chosen_by = self.filters.of_any_size if any_size else self.filters
        if keys and chosen_by.questions(self.link.clock):
            Selection(self.link, keys, remove, any_size).start()
        else:
            remove(keys, [])

    def _start_window(self, segment: Segment, count: int, size: int, settled: Callable[[Any], None]) -> None:
        keys = segment.next_keys(count)
        number = self._opened(keys)
        began_at = time.monotonic()

        def written(window: Any) -> None:
            self._remove(window.gone, number, lambda: finished(window))

        def finished(window: Any) -> None:
            took_s = time.monotonic() - began_at
            if window.counts.bytes >= SLOW_BYTES and took_s >= SLOW_S:
                self.slow.append([window.heaviest or keys[0], took_s])
            settled(window)

        window = LiveWindow(self.link, keys, self.chooser.method, written)
        window.usual_bytes = self.chooser.usual_bytes(count)
        window.too_much, window.scope = size > self.chooser.budget.limit, self.scope
        window.start()

    def news(self, last: bool = False) -> list[Progress]:
        """The outcome, once it is there."""
        news = super().news(last)
        for one in news:
            one.left, one.slow = self.left, self.slow
            self.left, self.slow = [], []
        if self.ended:
            for window in self._untold:
                self._closed(window)
            self._untold.clear()
        return news
