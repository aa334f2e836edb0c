"""Suspects: windows that were under way at several losses of a connection, and are tried alone (`careful.py`).

Links of one worker share connections, so alone means: with no other window of this worker under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Suspects:
    """Windows under way, and those of them that wait to be tried; `resume` lets all lanes open windows again."""

    def __init__(self, resume: Callable[[], None] = lambda: None) -> None:
        self.resume = resume
        self.open = 0  # windows under way
        self._waiting: deque[Callable[[], None]] = deque()
        self._trying = False

    def __bool__(self) -> bool:
        """No other window may be opened."""
        return self._trying or bool(self._waiting)

    def add(self, begin: Callable[[], None]) -> None:
        """Call `begin` when no window is under way but suspects; one at a time, until its window is settled."""
        self._waiting.append(begin)
        self._try_next()

    def opened(self) -> None:
        """A window is under way."""
        self.open += 1

    def closed(self, was_suspect: bool) -> None:
        """A window is settled."""
        self.open -= 1
        if was_suspect:
            self._trying = False
        if self._waiting:
            self._try_next()
        elif was_suspect:
            self.resume()

    def _try_next(self) -> None:
        if not self._trying and self.open == len(self._waiting):
            self._trying = True
            self._waiting.popleft()()
