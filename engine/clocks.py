"""The clocks of both sides, compared now and then: they drift, and expiries follow the target's."""

from __future__ import annotations

import time

from .partitioners.clock import clock_shifts_ms
from .partitioners.control import Control, hurried
from .workers.errors import AccessError

#: Their difference is measured again after so long.
CLOCK_S = 60.0


class Clocks:
    """`controls` are those of the sources and of the targets; None: there is nothing to compare."""

    def __init__(self, controls: tuple[list[Control], list[Control]] | None) -> None:
        self._controls = controls
        self._looked_at = time.monotonic()

    def look(self) -> list[list[int]] | None:
        """The differences, as `Setup.shifts` has them, if it is time and the servers tell."""
        now = time.monotonic()
        if not self._controls or now - self._looked_at <= CLOCK_S:
            return None
        self._looked_at = now
        try:
            with hurried([*self._controls[0], *self._controls[1]]):
                return clock_shifts_ms(*self._controls)
        except AccessError:
            return None  # next time; the workers have connections of their own, and will tell
