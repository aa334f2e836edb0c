"""Which windows of a worker are open, and the barrier that waits for them. Pure: the loop owns clock and pipe.

A window is open from before its first read is queued until its last acknowledgement; repeats after a lost connection,
or key by key, are part of it. A barrier is passed when every window that was open when it came is closed. What was read
from the source before the barrier is at the target by then, and nothing that is older than it can arrive later.

A window that stays open for longer than PUBLISH_S leaves the barrier, and its names are published instead: whoever
orders keys by barriers has to hold these names back until the window is told to be closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

PUBLISH_S = 1.0


@dataclass
class Windows:
    """The open windows by number. `news` is called when there is something for `take`.

    There is one barrier at a time: who sends the next one has heard of the last one's passing.
    """

    news: Callable[[], None]
    _open: dict[int, tuple[int, list[bytes]]] = field(default_factory=dict)  # database and names
    _published: set[int] = field(default_factory=set)
    _barrier: int = 0
    _waits_for: set[int] = field(default_factory=set)
    _next: int = 1
    _passed: list[list] = field(default_factory=list)  # [barrier, [[window, database, names], …]]: those that left it
    _closed: list[int] = field(default_factory=list)  # of those that were published

    def opened(self, db: int, keys: list[bytes]) -> int:
        """A window is about to read these names; its number."""
        number = self._next
        self._next += 1
        self._open[number] = (db, keys)
        return number

    def closed(self, number: int) -> None:
        """All writes of a window are acknowledged."""
        del self._open[number]
        if number in self._published:
            self._published.discard(number)
            self._closed.append(number)
            self.news()
        elif number in self._waits_for:
            self._waits_for.discard(number)
            if not self._waits_for:
                self._pass([])

    def barrier(self, number: int) -> None:
        """A barrier has come; it waits for the windows that are open now."""
        self._barrier = number
        self._waits_for = set(self._open.keys() - self._published)
        if not self._waits_for:
            self._pass([])

    def publish(self, number: int) -> None:
        """PUBLISH_S have passed since the barrier came: what it still waits for leaves it."""
        if number == self._barrier and self._waits_for:
            left = [[window, *self._open[window]] for window in self._waits_for]
            self._published |= self._waits_for
            self._waits_for = set()
            self._pass(left)

    def _pass(self, left: list[list]) -> None:
        self._passed.append([self._barrier, left])
        self._barrier = 0
        self.news()

    def take(self) -> tuple[list[list], list[int]]:
        """The barriers passed and the published windows closed since the last call, in this order."""
        news = self._passed, self._closed
        self._passed, self._closed = [], []
        return news
