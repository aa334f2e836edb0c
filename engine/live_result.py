"""What a live copy came to: its line in the closing table, and what it lets the exit code be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .workers.errors import EXIT_INCOMPLETE, EXIT_NOT_CONVERGED, EXIT_OK


@dataclass
class LiveResult:
    """`reason`: why it cannot be claimed that both sides are equal; "" where it can, as far as that was verified."""

    keys: int = 0  # outcomes of changed keys
    events: int = 0
    gaps: int = 0
    lag_max_s: float = 0.0
    lag_p99_s: float = 0.0
    left: int = 0  # keys that are gone or filtered out at the source, and were not ours to remove; counted so far …
    more_left: bool = False  # … and there are others
    equal: bool | None = None  # what verification has found, if nothing was written meanwhile; None: it was not done
    verdict_stands: bool = False  # nothing has been done since the last verification, so its verdict may be shown
    reason: str = ""
    advice: str = "stop the writers, and run the same command again"  # what is to be done about the reason
    cpu_s: float = 0.0  # of the feed

    @property
    def exit_code(self) -> int:
        """As far as following the changes goes."""
        if self.reason:
            return EXIT_NOT_CONVERGED
        return EXIT_INCOMPLETE if self.left else EXIT_OK

    @property
    def converged(self) -> bool:
        """Both sides are equal, and that is proved."""
        return bool(self.equal) and not self.reason and not self.left

    def lines(self) -> list[str]:
        """The lines of the closing table."""
        told = self.reason or self.left or self.equal is not None
        outcome = "converged" if self.converged else "not converged" if told else "not verified"
        line = f"live    {self.keys:>11,} keys    {outcome}, lag max {self.lag_max_s:.2f} s"
        if self.gaps:
            line += f", {self.gaps:,} gap{'s' * (self.gaps > 1)} made good"
        lines = [line]
        if self.reason:
            lines.append(f"        {self.reason}")
        if self.left:
            what = "gone or filtered out at the source, and still at the target: --prune removes them"
            lines.append(f"        {'over ' if self.more_left else ''}{self.left:,} keys are {what}")
        return lines

    def fields(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "keys": self.keys,
            "events": self.events,
            "gaps": self.gaps,
            "lag_max_seconds": round(self.lag_max_s, 3),
            "lag_p99_seconds": round(self.lag_p99_s, 3),
            "left": self.left,
            "more_left": self.more_left,
            "converged": self.converged,
            "reason": self.reason,
            "feed_cpu_seconds": round(self.cpu_s, 3),
        }
