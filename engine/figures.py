"""What is told of a running phase, whatever shows it: share, rates, time left, and the reason when it is slow.

Rates are those of the last seconds: a run that stands still says so. The share is 1 only when everything is
acknowledged, and no time left is told before one percent is done, as it would be a guess.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .reasons import split
from .text import count_text, printable, rounded, seconds_text, size_text

if TYPE_CHECKING:
    from .state import State

#: Rates are means of so long.
RECENT_S = 10.0
#: How often keys and bytes are noted for them.
SAMPLE_S = 0.2
#: No time left is told before this share is done.
MIN_SHARE = 0.01
#: Shown at most while anything is left to do.
ALMOST = 0.999


@dataclass(frozen=True)
class LiveFigures:
    """How far a live copy is behind: the answer to whether one may cut over now."""

    events: int
    events_per_second: float
    dirty: int
    lag_seconds: float
    gaps: int
    sweeping: bool

    @property
    def text(self) -> str:
        """`lag 0.2 s · dirty 31 · no gaps · 1,204 events/s`."""
        gaps = f"{self.gaps:,} gap{'s' * (self.gaps > 1)}" if self.gaps else "no gaps"
        if self.gaps:
            gaps += ", being made good" if self.sweeping else " made good"
        return f"lag {self.lag_seconds:.1f} s · dirty {self.dirty:,} · {gaps} · {self.events_per_second:,.0f} events/s"


@dataclass(frozen=True)
class Figures:
    """One look at a phase. The names are those of the JSON progress lines, which README lists."""

    phase: str
    unit: str  # of what is counted: keys, or changes
    seconds: float  # since the phase began
    share: float  # of the keys, 0 to 1
    keys: int  # with an outcome
    keys_total: int  # 0: nobody knows, as SCAN filters or a file names the keys
    total_known: bool  # False: `keys_total` is an estimate
    keys_per_second: float
    bytes: int
    bytes_per_second: float
    seconds_left: float | None
    state: str  # running, throttled, waiting or reconnecting
    reason: str
    ranges_done: int
    ranges: int
    workers: int
    live: LiveFigures | None = None

    def fields(self) -> dict[str, object]:
        """The figures for programs, rounded."""
        found = asdict(self)
        if self.live is None:
            del found["live"]
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}

    @property
    def total_text(self) -> str:
        """How many keys there are: `~1.2 M`, and without the sign once it is known."""
        return count_text(self.keys_total) if self.total_known else rounded(self.keys_total)

    @property
    def endless(self) -> bool:
        """There is no total: only a signal ends the phase, or nobody has counted what comes."""
        return not self.keys_total

    @property
    def share_text(self) -> str:
        """` 45.0 %`; nothing where there is no total."""
        return "" if self.endless else f"{100 * self.share:5.1f} %"

    @property
    def how_far_text(self) -> str:
        """`1,234 of ~1.2 M keys`, or `1,234 changes` where there is no total."""
        return f"{self.keys:,} {self.unit}" if self.endless else f"{self.keys:,} of {self.total_text} {self.unit}"

    @property
    def left_text(self) -> str:
        """`3m07s left`, or nothing."""
        return "" if self.seconds_left is None else f"{seconds_text(self.seconds_left)} left"

    @property
    def reason_line(self) -> str:
        """`waiting: target out of memory`, or nothing."""
        return printable(f"{self.state}: {self.reason}") if self.reason else ""

    @property
    def below(self) -> str:
        """What stands below a bar: how far the changes are followed, and the reason when it is slow."""
        return "  ".join(text for text in [self.live.text if self.live else "", self.reason_line] if text)

    def lines(self) -> list[str]:
        """A line of figures, and a second one where there is a reason."""
        parts = [
            f"{self.phase:<8}",
            self.share_text,
            self.how_far_text,
            f"{self.keys_per_second:,.0f} {self.unit}/s",
            f"{size_text(self.bytes_per_second)}/s",
            self.left_text,
        ]
        line = "  ".join(part for part in parts if part)
        more = [self.live.text] if self.live else []
        return [line, *(f"  {text}" for text in [*more, self.reason_line] if text)]


class Watch:
    """Looks at the states of one phase; it remembers the last seconds."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self._began_at = 0.0  # 0: not yet
        self._samples: deque[tuple[float, int, int, int]] = deque()  # when, keys, bytes, events

    def note(self, state: State) -> None:
        """Take in a state; often, so that rates are of the last seconds."""
        now, events = time.monotonic(), state.live.events if state.live else 0
        self._began_at = self._began_at or state.began_at
        if self._samples and state.began_at > self._samples[-1][0]:
            self._samples.clear()  # another pass of the phase, whose keys are counted from 0
        if not self._samples:
            self._samples.append((state.began_at, 0, 0, events))  # those of earlier phases count as well
        if now - self._samples[-1][0] >= SAMPLE_S:
            self._samples.append((now, state.counts.read, state.counts.bytes, events))
        while len(self._samples) > 1 and self._samples[1][0] <= now - RECENT_S:
            self._samples.popleft()

    def figures(self, state: State) -> Figures:
        """What there is to tell of a state."""
        self.note(state)
        keys_s, bytes_s = self._rates(state)
        keys, done = state.counts.read, 0 < state.ranges <= state.ranges_done
        total = keys if done else max(state.keys_total, keys)
        total = 0 if state.endless or not state.keys_total else total
        share = 1.0 if done else min(keys / total, ALMOST) if total else 0.0
        kind, reason = split(state.waiting)
        return Figures(
            phase=self.phase,
            unit=state.unit,
            seconds=time.monotonic() - self._began_at,
            share=share,
            keys=keys,
            keys_total=total,
            total_known=done or state.total_known,
            keys_per_second=keys_s,
            bytes=state.counts.bytes,
            bytes_per_second=bytes_s,
            seconds_left=(total - keys) / keys_s if MIN_SHARE <= share < 1 and keys_s else None,
            state=kind,
            reason=reason,
            ranges_done=state.ranges_done,
            ranges=state.ranges,
            workers=state.workers,
            live=self._live(state),
        )

    def _live(self, state: State) -> LiveFigures | None:
        if state.live is None:
            return None
        since, _, _, events = self._samples[0]
        now = state.live
        rate = max(0, now.events - events) / max(time.monotonic() - since, 0.001)
        return LiveFigures(now.events, rate, now.dirty, now.lag_s, now.gaps, now.sweeping)

    def _rates(self, state: State) -> tuple[float, float]:
        """Keys and bytes a second; a pass that begins again takes some back, and counts as none."""
        since, keys, size, _ = self._samples[0]
        seconds = max(time.monotonic() - since, 0.001)
        return max(0, state.counts.read - keys) / seconds, max(0, state.counts.bytes - size) / seconds
