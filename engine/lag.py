"""How far the target is behind: from an event's arrival until its key is acknowledged there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .workers.dirty import Dirtied

#: Lags are counted in classes, each so many times the one before, the first up to a millisecond.
STEP = 1.25
CLASSES = 80


@dataclass
class Lag:
    """In seconds. A key that is slow to copy and rests is counted from the end of its rest."""

    most: float = 0.0
    _counts: list[int] = field(default_factory=lambda: [0] * CLASSES)

    def settled(self, dirtied: Dirtied, now: float) -> None:
        """These keys are acknowledged; what the run has marked itself has no event."""
        if not dirtied.newest:
            return
        lag_s = now - dirtied.behind_since
        self.most = max(self.most, lag_s)
        step = math.ceil(math.log(max(lag_s * 1000, 1), STEP))
        self._counts[min(step, CLASSES - 1)] += len(dirtied.keys)

    def below(self, share: float) -> float:
        """So large a share of the keys had no more than this."""
        total, seen = sum(self._counts), 0
        for step, count in enumerate(self._counts):
            seen += count
            if total and seen >= share * total:
                return min(self.most, STEP**step / 1000)
        return 0.0
