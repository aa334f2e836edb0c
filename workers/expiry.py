"""When a key ends: the one place where a reply about its expiry becomes an instant.

Of all replies only -1 means "never". A key that is gone (-2), in its last millisecond (PTTL 0) or past its instant
must not become immortal at the target because of an unlucky moment: it is gone. Instants are absolute and in the
target's clock: the source's instant plus how far the target's clock is ahead. The copier's own clock has no say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: The instant of a key that never expires; RESTORE takes it as such.
NEVER = 0


@dataclass(frozen=True)
class Clock:
    """How the source tells expiries, and how far the target's clock is ahead of the source's."""

    absolute: bool  # the source knows PEXPIRETIME (7.0 and later); else PTTL, next to TIME
    shift_ms: int = 0


def time_ms(reply: list[bytes]) -> int:
    """A TIME reply, [seconds, microseconds], in milliseconds."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def instants(replies: Iterable[int], now_ms: int, clock: Clock) -> list[int | None]:
    """For each PEXPIRETIME or PTTL reply: the target's instant in ms, NEVER, or None for a key that is gone.

    `now_ms` is the source's TIME, read in the same batch. Raises TypeError when a reply is an error.
    """
    floor, add = (now_ms, clock.shift_ms) if clock.absolute else (0, now_ms + clock.shift_ms)
    return [NEVER if reply == -1 else reply + add if reply > floor else None for reply in replies]
