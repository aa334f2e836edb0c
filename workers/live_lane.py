"""A lane of keys that have changed: each is written as it is now, or removed where it is gone.

A key that exists but does not pass the filters any more, because its type, size or expiry is another by now, is gone as
far as the target is concerned: else it would stay there as it was.
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
from .lane import Lane, _Segment
from .link import Link
from .news import Counts, Progress
from .pace import Pace
from .removal import Removal
from .resp import argument_value
from .task import Task
from .window import Window, _Part

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

    def _write(self, parts: list[_Part]) -> None:
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
    """Copies or removes the keys of one LIVE_KEYS task; `removes()` are the target databases where it may remove."""

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
        removes: Callable[[], set[int]],
    ) -> None:
        # Names have passed already, and SCAN has not judged these keys.
        state = replace(filters, match=None, include=(), exclude=(), scan_type=False)
        super().__init__(task, link, chooser, meter, scan_count, changed, pace, state, windows)
        self.removes = removes
        self.left: list[bytes] = []  # gone at the source, and still at the target
        self.slow: list[list[Any]] = []  # [key, seconds that its copy took]

    def _sifted(self, segment: _Segment, keys: list[bytes], counts: Counts) -> None:
        passed = set(keys)
        out = [key for key in self.task.keys if key not in passed]
        if not out:
            return super()._sifted(segment, keys, counts)
        number = self._opened(out)
        self._remove(out, lambda: self._removed(segment, keys, counts, number))

    def _removed(self, segment: _Segment, keys: list[bytes], counts: Counts, number: int) -> None:
        self._closed(number)
        super()._sifted(segment, keys, counts)

    def _remove(self, keys: list[bytes], then: Callable[[], None]) -> None:
        def done(left: list[bytes]) -> None:
            self.left += left
            then()

        Removal(self.link, keys, self.task.target_db in self.removes(), done).start()

    def _start_window(self, segment: _Segment, count: int, settled: Callable[[Any], None]) -> None:
        keys = segment.next_keys(count)
        number = self._opened(keys)
        began_at = time.monotonic()

        def written(window: Any) -> None:
            if window.gone:
                return self._remove(window.gone, lambda: finished(window))
            finished(window)

        def finished(window: Any) -> None:
            took_s = time.monotonic() - began_at
            if window.counts.bytes >= SLOW_BYTES and took_s >= SLOW_S:
                self.slow.append([window.heaviest or keys[0], took_s])
            self._closed(number)
            settled(window)

        window = LiveWindow(self.link, keys, self.chooser.method, written)
        window.usual_bytes = self.chooser.usual_bytes(count)
        window.start()

    def news(self, last: bool = False) -> list[Progress]:
        """The outcome, once it is there."""
        news = super().news(last)
        for one in news:
            one.left, one.slow = self.left, self.slow
            self.left, self.slow = [], []
        return news
