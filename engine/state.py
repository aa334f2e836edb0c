"""What can be seen of a run while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .workers.news import Counts


@dataclass(frozen=True)
class LiveState:
    """How far a live copy is behind its source."""

    events: int  # since it began
    dirty: int  # keys that have changed and are not at the target yet
    lag_s: float  # how long ago the oldest of those changes arrived
    gaps: int
    sweeping: bool  # a gap is being made good


@dataclass
class State:
    """Kept up to date by the coordinator; whoever shows progress reads it."""

    keys_total: int
    began_at: float = field(default_factory=time.monotonic)
    counts: Counts = field(default_factory=Counts)
    ranges_done: int = 0
    ranges: int = 0
    waiting: str = ""  # the worst of what the workers tell (`reasons`)
    workers: int = 0
    total_known: bool = False  # `keys_total` is no estimate
    unit: str = "keys"  # what is counted
    live: LiveState | None = None  # changes are followed

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.began_at

    @property
    def endless(self) -> bool:
        """Only a signal ends it: there is no total, and no share of it."""
        return self.unit == "changes" and not self.keys_total
