"""Gaps in what a feed tells, made good: everything is copied again, and what the target has too much is found.

WHAT HAPPENS IF
    events may be lost (a gap): once the feed listens again, and every window that is open now is closed, all ranges are
    copied again, and every key of the target that the source has not is marked. Marks go the way of all changed keys:
    there is no second way to delete.
    the target is not reached when a sweep begins: it is waited for, as workers do.
    gap follows gap, before what was dirty at the end of the sweep is settled: after SWEEPS_MAX it is given up, with the
    cause. To wait for a moment at which nothing at all is dirty would be wrong: a busy source has none for days.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .feeding import Feeding
from .field import Field
from .generations import Generations
from .partitioners.control import hurried
from .workers.errors import NotConverged, UnreachedError
from .workers.setup import Order
from .workers.task import COPY, Task

if TYPE_CHECKING:
    from .coordinator import Coordinator

#: So many sweeps in a row, with no settled interval between them, lead nowhere.
SWEEPS_MAX = 3
#: A target that is not reached is tried again after so long.
AGAIN_S = 0.5


@dataclass
class Sweeps:
    """Those of one pass, one after the other: `gap` asks for one, `turn` goes on with it as far as is possible now."""

    feeding: Feeding
    field: Field
    generations: Generations
    settled_before: Callable[[float], bool]  # whether all events until then are settled
    warn: Callable[[str], None]
    gaps: int = 0
    after: float = 0.0  # one that is wanted has to wait until then
    _unsettled: int = 0  # so many have begun since one was followed by a settled interval
    _ended_at: float = 0.0  # the last one
    _steps: Iterator[None] | None = None
    _wanted: bool = False
    _cause: str = ""

    def gap(self, why: str, after_s: float = 0.0) -> None:
        """Events may be lost: everything is looked at again, no sooner than in `after_s`."""
        self.gaps += 1
        known, self._wanted, self._cause = self._wanted, True, why
        self.after = max(self.after, time.monotonic() + after_s)
        if not known:
            self.warn(f"gap: {why}: everything is copied again")

    @property
    def under_way(self) -> bool:
        """One is wanted, or has begun."""
        return self._wanted or self._steps is not None

    def turn(self, run: Coordinator, now: float) -> None:
        """Begin, or go on. Raises NotConverged where that leads nowhere."""
        if self.generations.marked.full:
            self.generations.marked.full = False
            self.gap("more keys were to be copied again than fit into the memory for them")
        due = self._steps is None and self._wanted and now >= self.after
        if due and run.tasks_done and self.feeding.confirmed and not self.generations.barrier:
            self._wanted = False
            self._steps = self._sweep(run)
        if self._steps is not None and next(self._steps, self) is self:
            self._steps, self._ended_at = None, now
        if self._unsettled and not self.under_way and self.settled_before(self._ended_at):
            self._unsettled = 0

    def _sweep(self, run: Coordinator) -> Iterator[None]:
        """All windows of before are closed; then everything is read again."""
        self._unsettled += 1
        if self._unsettled > SWEEPS_MAX:
            raise NotConverged(
                f"{SWEEPS_MAX} sweeps in a row, and events were lost again: {self._cause}",
                hint="copy at a quieter time, or mend the cause",
            )
        barrier = self.generations.raise_barrier(run.crew.workers)
        if barrier:
            run.crew.tell(Order(barrier=barrier))
        while self.generations.barrier == barrier:
            yield
        held = set(self.generations.held)
        while held.intersection(self.generations.held) or run.fence.holds_tasks:
            yield
        tasks = yield from self.made(run, lambda: [*self.field.tasks(), *self.field.lookups()])
        for scope in self.field.scopes:
            run.ledger.forget(scope, COPY)
        for task in tasks:
            run.ledger.add(task)
        while not run.tasks_done:
            yield

    def made(self, run: Coordinator, make: Callable[[], list[Task]]) -> Generator[None, None, list[Task]]:
        """What is to be read, once the target can be looked at. Raises UnreachedError where it never can be."""
        since = time.monotonic()
        while True:
            try:
                with hurried(run.controls[1] if run.controls else ()):
                    return make()
            except UnreachedError:
                now = time.monotonic()
                if now - since > run.setup.retry_for_s:
                    raise
            while time.monotonic() < now + AGAIN_S:
                yield
