"""The end of a live copy, up to the proof: nothing that was written before it is missing at the target.

    fence ─→ all that had arrived is settled ─→ streams again ─→ what was not removed, again ─→ fence, settled ─→ done
                                                                              … then, outside: verify, last look

A FENCE makes sure that the feed has brought every event of what was written before it (`workers/listener.py`).
STREAMS are changed by commands of which no feed tells (XACK and its like). Nobody remembers which streams: where one of
those commands was called since the feed began, or the source does not tell, all streams are copied again. So it is with
vector sets where notifications are the feed. One that has lost its last element is gone, so no list of the source's has
it: where elements were removed, the target's keys are looked up at the source.
THE LAST LOOK comes after the verification: no write since all of this was settled, or it begins again. Not since it
began: what was written before that may be told of later, over a long link or where much is written. A source that is
still since a look proves that only if this was told before the second fence: a server answers a look that counts a
write, and sends the write's event behind the answer, where both have come to it at once (seen on 6.2 and 7.0).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .coordinator import Coordinator
    from .live import Live

#: Streams that are changed silently all the time are copied again so often.
SILENT_TRIES = 3


@dataclass
class CutOver:
    """One attempt; `asked`: by a signal, so that it goes on although the source is written to.

    With `since`, the last look: whether anything was written since then.
    """

    live: Live
    asked: bool
    since: float = 0.0
    began_at: float = field(default_factory=time.monotonic)
    still_by: float = 0.0  # what looks had counted by then was told of when this was done …
    settled_at: float = 0.0  # … and what had been told of by then was settled
    done: bool = False
    failed: bool = False  # something was written meanwhile, or events were lost: not now
    _steps: Iterator[None] | None = None

    def turn(self, run: Coordinator) -> None:
        """Go on as far as possible."""
        if self._steps is None:
            self._steps = self._last_look() if self.since else self._attempt(run)
        if self._disturbed:
            self.failed = True
            self.live.generations.slow.hurry = False
        elif next(self._steps, self) is self:
            self.done = True

    @property
    def _disturbed(self) -> bool:
        live = self.live
        return live.sweeps.under_way or (not self.asked and live.written_at > self.began_at)

    def _attempt(self, run: Coordinator) -> Iterator[None]:
        yield from self._fence()
        yield from self._silent_types(run)
        if left := list(self.live.removals.left):  # some may have gone by themselves since
            for db, key in left:
                self.live.generations.mark(db, [key], time.monotonic())
            yield from self._settle(time.monotonic())
        self.still_by = time.monotonic()
        yield from self._fence()

    def _fence(self) -> Iterator[None]:
        feeding = self.live.feeding
        number = feeding.fence()
        while number not in feeding.passed:
            yield
        yield from self._settle(feeding.passed[number])

    def _settle(self, instant: float) -> Iterator[None]:
        self.live.generations.slow.hurry = True  # what rests has to be settled, too
        yield  # so that the feed has been heard since
        while not self.live.settled_before(instant):
            yield
        self.live.generations.slow.hurry = False
        self.settled_at = instant

    def _silent_types(self, run: Coordinator) -> Iterator[None]:
        live, silent = self.live, self.live.silent
        for _ in range(SILENT_TRIES):
            now, removing = live.feeding.told.silent, live.feeding.told.removing
            if not live.field.silent_types or (now >= 0 and not silent.changed):
                return
            silent.keys = 0
            tasks = silent.tasks()
            if silent.may_have_gone:
                tasks += yield from live.sweeps.made(run, silent.lookups)
            for task in tasks:
                run.ledger.add(task)
            yield
            while not run.tasks_done:
                yield
            yield from self._settle(time.monotonic())
            silent.copied_at, silent.looked_up_at = now, removing
            if now < 0:
                return
            yield from self._fence()

    def _last_look(self) -> Iterator[None]:
        yield from self._fence()
