"""When a key ends: the one place where a reply about its expiry becomes an instant.

(`take_expiries` in `c/values.c` is the same in C; `tests/test_unparsed.py` holds the two together.)

Of all replies only -1 means "never". A key that is gone (-2), in its last millisecond (PTTL 0) or past its instant
must not become immortal at the target because of an unlucky moment: it is gone. Instants are absolute and in the
target's clock: the source's instant plus how far the target's clock is ahead. The copier's own clock has no say.

Servers keep instants in 64 bits, and take the very last one (SET … PXAT 9223372036854775807). A key that would end
later by the target's clock ends then, in 292 million years: the target refuses any other instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

#: The instant of a key that never expires; RESTORE takes it as such.
NEVER = 0
#: How PTTL and PEXPIRETIME say so.
FOREVER = -1
#: The last instant that there is.
LATEST = 2**63 - 1


@dataclass(frozen=True)
class Clock:
    """How the source tells expiries, and how far the target's clock is ahead of the source's."""

    absolute: bool  # the source knows PEXPIRETIME (7.0 and later); else PTTL, next to TIME
    shift_ms: int = 0
    wanted: bool = True  # False: every key is copied as one that never expires


def time_ms(reply: list[bytes]) -> int:
    """A TIME reply, [seconds, microseconds], in milliseconds."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def moved(instants: Iterable[int], by_ms: int) -> list[int]:
    """Instants by a clock that is so far ahead; none is after LATEST."""
    found = [instant + by_ms for instant in instants]
    return found if max(found, default=0) <= LATEST else [min(instant, LATEST) for instant in found]


@dataclass(frozen=True)
class Expiries:
    """The PEXPIRETIME or PTTL replies for keys, in their order, and what makes instants of them.

    FOREVER is NEVER; a reply above `floor` is the instant reply + add, or LATEST; the key of any other is gone.
    """

    replies: Sequence[int]
    floor: int
    add: int

    @classmethod
    def told(cls, replies: Sequence[int], now_ms: int, clock: Clock) -> Expiries:
        """What the source said; `now_ms` is its TIME, read in the same request."""
        if clock.absolute:
            return cls(replies, now_ms, clock.shift_ms)
        return cls(replies, 0, now_ms + clock.shift_ms)

    def only(self, wanted: Sequence[bool]) -> Expiries:
        """Those of some of the keys."""
        return Expiries(list(compress(self.replies, wanted)), self.floor, self.add)

    def settled(self) -> list[int]:
        """The replies as they would be with nothing to add and a floor of 0: FOREVER, an instant, or 0 for gone."""
        floor, add = self.floor, self.add
        return [
            FOREVER if reply == FOREVER else min(reply + add, LATEST) if reply > floor else 0 for reply in self.replies
        ]

    def instants(self) -> list[int | None]:
        """For each key the target's instant in ms, NEVER, or None where it is gone. Raises TypeError for an error."""
        floor, add = self.floor, self.add
        found = [NEVER if reply == FOREVER else reply + add if reply > floor else None for reply in self.replies]
        return found if add + max(self.replies, default=0) <= LATEST else [one and min(one, LATEST) for one in found]


def none_of(count: int) -> Expiries:
    """The expiries of so many keys that never expire."""
    return Expiries([FOREVER] * count, 0, 0)
