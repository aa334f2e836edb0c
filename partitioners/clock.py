"""How far servers' clocks are apart, by what TIME says. Reads only."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..workers.errors import AccessError
from ..workers.expiry import time_ms
from .control import Control, ReplyError

Bounds = tuple[float, float]  # ms: how far a server's clock is ahead of our monotonic one, at least and at most


def clock_of(control: Control) -> Bounds:
    """A server's clock. Each TIME reply lies between our two readings of the monotonic clock around it."""
    found = [_clock_bounds(control) for _ in range(3)]
    return max(low for low, _ in found), min(high for _, high in found)


def clock_shift_ms(source: Bounds, target: Bounds) -> int:
    """How far the target's clock is ahead of the source's, in ms; 0 unless that is proved.

    The two bounds of each clock bound their difference from both sides; as long as 0 is within, the clocks may be
    equal, and expiries are carried over unchanged to the millisecond.
    """
    low, high = target[0] - source[1], target[1] - source[0]
    return 0 if low <= 0 <= high else round((low + high) / 2)


def clock_shifts_ms(sources: Sequence[Control], targets: Sequence[Control]) -> list[list[int]]:
    """`clock_shift_ms` for each source node, to each target node. Raises AccessError."""
    ours, theirs = [clock_of(one) for one in sources], [clock_of(one) for one in targets]
    return [[clock_shift_ms(source, target) for target in theirs] for source in ours]


def _clock_bounds(control: Control) -> Bounds:
    before = time.monotonic() * 1000
    reply = control.call("TIME")
    after = time.monotonic() * 1000
    if isinstance(reply, ReplyError):
        raise AccessError(
            f"TIME refused: {reply}",
            side=control.side,
            address=control.endpoint.address,
            hint="the copy needs TIME to carry expiries over",
        )
    if not (isinstance(reply, list) and len(reply) == 2 and all(isinstance(part, bytes) for part in reply)):
        raise control.unexpected("TIME", reply)
    there = time_ms(reply)
    # TIME is cut down to whole milliseconds here, so the true value may be almost 1 ms later.
    return there - after, there + 1 - before
