"""How long a trouble may last, and when the next try is made: with jitter, so that workers do not march in step."""

from __future__ import annotations

import random
import time

#: A try comes after at least so long, and at most so long.
PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 2.0

Where = tuple[str, ...]  # side and address, and what of it, where that is apart from others


class Patience:
    """Keeps account of troubles by their place. Progress ends all of them: what goes on is not in trouble."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._troubles: dict[Where, tuple[float, float]] = {}  # since when, and the last pause

    def pause_s(self, where: Where) -> float:
        """Until the next try. Raises TimeoutError where the trouble has lasted for longer than the limit."""
        now = time.monotonic()
        since, pause_s = self._troubles.get(where, (now, PAUSE_MIN_S))
        if now - since > self.limit_s:
            raise TimeoutError(f"for {now - since:.0f} s")
        pause_s = min(PAUSE_MAX_S, random.uniform(PAUSE_MIN_S, pause_s * 3))
        self._troubles[where] = since, pause_s
        return pause_s

    def over(self, where: Where) -> None:
        """What comes next there is another trouble."""
        self._troubles.pop(where, None)

    def clear(self) -> None:
        """There was progress."""
        self._troubles.clear()
