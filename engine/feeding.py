"""Our end of the feed process: started, asked, heard, and started again when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .executors import FeedSeat
from .workers import errors
from .workers.dirty import Dirtied
from .workers.feed_task import FeedOrder, FeedReport, FeedSetup

#: A feed that does not answer for so long counts as dead.
SILENCE_S = 30.0
#: … and one that dies so often does not live on this machine.
DEATHS_MAX = 8


@dataclass
class Feeding:
    """Asks the feed, and holds what it said last. `gap(why)` is called where events may be lost."""

    executor: Any
    setup: FeedSetup
    gap: Callable[[str], None]
    told: FeedReport = field(default_factory=FeedReport)
    confirmed_once: bool = False
    #: Fences, and when the feed said that they are passed: what had arrived by then it has told of, or tells with it.
    passed: dict[int, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    events_before: int = 0  # that feeds have told of which are gone
    _seat: FeedSeat | None = None
    _asked_at: float = 0.0  # 0: nothing is asked
    _fences: int = 0
    _deaths: int = 0

    def begin(self) -> None:
        """Start the process."""
        self._seat = self.executor.launch_feed(self.setup)
        self._asked_at = 0.0

    @property
    def seats(self) -> list[FeedSeat]:
        """What to wait for."""
        return [self._seat] if self._seat else []

    @property
    def confirmed(self) -> bool:
        """Every source is listened to now."""
        return self.told.confirmed

    @property
    def events(self) -> int:
        """In scope, of all feeds."""
        return self.events_before + self.told.events

    def turn(self, room_bytes: int) -> list[Dirtied]:
        """Hear what is there and ask again, for names of at most so many bytes. Raises what ends the feed."""
        assert self._seat is not None
        dirtied: list[Dirtied] = []
        now = time.monotonic()
        if self._asked_at and self._seat.has_report():
            report = self._seat.receive()
            if report is None:
                self._died("died")
            else:
                dirtied = self._take_in(report)
        elif self._asked_at and now - self._asked_at > SILENCE_S:
            self._died(f"has been silent for {SILENCE_S:g} s")
        if not self._asked_at:
            self._asked_at = now
            self._seat.send(FeedOrder(ask=True, take=room_bytes))  # one that is gone is noticed when we listen
        return dirtied

    def _take_in(self, report: FeedReport) -> list[Dirtied]:
        self._asked_at = 0.0
        if report.failure:
            raise errors.unpack(report.failure)
        self.told = report
        self.confirmed_once = self.confirmed_once or report.confirmed
        for why in report.gaps:
            self.gap(why)
        for number in report.fences:
            self.passed[number] = report.made_at
        return report.dirtied

    def _died(self, how: str) -> None:
        """Start another one: what it knew is lost."""
        self.end()
        self._deaths += 1
        if self._deaths > DEATHS_MAX:
            raise errors.RunError("the feed process keeps dying", hint="is there memory enough for it?")
        self.events_before, self.told = self.events, FeedReport()
        if self.confirmed_once:
            self.gap(f"the feed process {how}")
        self.begin()
        for number in range(1, self._fences + 1):
            if number not in self.passed:
                self._order_fence(number)

    # ---- fences ---------------------------------------------------------------------------------------------

    def fence(self) -> int:
        """Begin a fence on every source; its number, which will be in `passed`."""
        self._fences += 1
        self._order_fence(self._fences)
        return self._fences

    def _order_fence(self, number: int) -> None:
        assert self._seat is not None
        self._seat.send(FeedOrder(fence=number))

    # ---- the end --------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End the process."""
        if self._seat:
            self.cpu_s += self.told.cpu_s
            self._seat.kill()
            self._seat.close()
            self._seat = None
