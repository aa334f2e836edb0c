"""The loop of the fault proxy: epoll, with timers that are finer than its milliseconds."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Any

#: Nothing is due: wait so long.
FOREVER_S = 3600.0


class Loop:
    """Calls what was asked for when a socket is ready, or an instant has come. Belongs to one thread."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._watched: dict[int, tuple[int, Callable[..., None], tuple[Any, ...]]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def watch(self, fd: int, mask: int, ready: Callable[..., None], *args: Any) -> None:
        """Call ready(events, *args) for the events in `mask`; 0 is none. A descriptor has one such call."""
        before = self._watched[fd][0] if fd in self._watched else 0
        if mask == before:
            return
        if not mask:
            return self.forget(fd)
        (self._poll.modify if before else self._poll.register)(fd, mask)
        self._watched[fd] = mask, ready, args

    def forget(self, fd: int) -> None:
        """Watch a descriptor no more, if it is watched."""
        if self._watched.pop(fd, None):
            self._poll.unregister(fd)

    def at(self, instant: float, what: Callable[[], None]) -> None:
        """Do something at an instant of time.monotonic()."""
        heapq.heappush(self._timers, (instant, next(self._serial), what))

    def turn(self) -> None:
        """Wait for the next thing to do, and do what there is."""
        wait_s = FOREVER_S
        if self._timers:
            wait_s = max(0.0, self._timers[0][0] - time.monotonic())
            select.select([self._poll.fileno()], (), (), wait_s)  # to the microsecond, unlike epoll's time-out
            wait_s = 0
        for fd, events in self._poll.poll(wait_s):
            if fd in self._watched:  # the one before may have closed it
                _, ready, args = self._watched[fd]
                ready(events, *args)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        """Give the epoll back."""
        self._poll.close()
