"""The pace of one worker: its share of what the whole run may do, and whose turn it is.

    coordinator ── Share ─→ Pace: a bucket of keys, a bucket of bytes ←─ lanes ask before each window

Keys are known before a window, so they are paid for in advance. Bytes are known after it: a window pays in advance
for values like those before it, and settles the difference when it is done. A bucket may be overdrawn by one window,
and what is overdrawn is waited out by a timer of the loop. So in any t seconds no more than rate * (t + SAVED_S)
and one window pass, and windows are short. Lanes that wait take turns, so that none starves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .choose import Chooser

#: What is not used is saved up for so long: enough for a loop that is late, too little for a burst.
SAVED_S = 0.05
#: No window takes more than what comes in this time.
WINDOW_S = 0.02


@dataclass(frozen=True)
class Share:
    """What one worker may do a second; None: as much as it can; no keys: nothing at all."""

    keys_a_second: float | None = None
    bytes_a_second: float | None = None  # of values, as they were read
    window_s: float = WINDOW_S

    def pack(self) -> dict[str, Any]:
        """A map for msgpack."""
        return asdict(self)


#: The share of a worker that has nothing to copy, and of one that was not told yet.
NOTHING = Share(keys_a_second=0.0)


class Bucket:
    """`rate` tokens come a second. Times are of one monotonic clock, in seconds."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._paid_until = now  # when all that was taken has come; earlier than now: some is saved up

    def wait_s(self, now: float) -> float:
        """Seconds until something may be taken; 0 or less: now."""
        return self._paid_until - now

    def take(self, tokens: float, now: float) -> None:
        """Take so many; fewer than 0 are given back."""
        self._paid_until = max(self._paid_until, now - SAVED_S) + tokens / self.rate

    def change(self, rate: float, now: float) -> None:
        """Go on at another rate; what is owed, or saved up, stays so many tokens."""
        self.take(0, now)
        self._paid_until = now + (self._paid_until - now) * self.rate / rate
        self.rate = rate


class Pace:
    """Lanes ask `admits` before they open a window. `later(seconds, then)` sets a timer of the loop."""

    def __init__(
        self, later: Callable[[float, Callable[[], None]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._later, self._clock = later, clock
        self._share = NOTHING
        self._keys: Bucket | None = None
        self._bytes: Bucket | None = None
        self._held: dict[Any, None] = {}  # lanes that wait, the first one first
        self._turn: Any = None  # the lane that is called from among them
        self._due_at = math.inf  # when the next timer comes
        self._held_by = ""

    def change(self, share: Share) -> None:
        """Go on with another share."""
        self._share = share
        if share != NOTHING:
            now = self._clock()
            self._keys = _changed(self._keys, share.keys_a_second, now)
            self._bytes = _changed(self._bytes, share.bytes_a_second, now)
        self._call_held()

    # ---- what lanes ask -------------------------------------------------------------------------------------

    def admits(self, lane: Any) -> bool:
        """Whether a lane may open a window now. If not, its `go` is called when its turn has come."""
        if (lane is self._turn or not self._held) and self._wait_s() <= 0:
            return True
        self._held[lane] = None
        self._set_timer()
        return False

    def window_keys(self, chooser: Chooser) -> int:
        """How many keys the next window takes."""
        keys: float = chooser.keys
        if self._keys:
            keys = min(keys, self._keys.rate * self._share.window_s)
        if self._bytes:
            keys = min(keys, self._bytes.rate * self._share.window_s / max(chooser.value_bytes, 1))
        return max(1, int(keys))

    def open(self, keys: int, value_bytes: float) -> float:
        """A window of so many keys is opened; the bytes that it pays for. `value_bytes` 0: nobody knows their size."""
        now = self._clock()
        if self._keys:
            self._keys.take(keys, now)
        if not self._bytes:
            return 0
        # What is not known counts for so much that the next window waits until it is.
        paid = keys * value_bytes or self._bytes.rate * SAVED_S
        self._bytes.take(paid, now)
        return paid

    def settle(self, paid: float, size: int) -> None:
        """A window that had `paid` for its bytes brought `size` of them."""
        if self._bytes:
            self._bytes.take(size - paid, self._clock())

    def held_by(self) -> str:
        """Which limit has held lanes back since this was last asked: `keys`, `bytes`, or neither."""
        held_by = self._held_by
        if not self._held:
            self._held_by = ""
        return held_by

    # ---- lanes that wait ------------------------------------------------------------------------------------

    def _wait_s(self) -> float:
        """Seconds until a window may be opened; 0 or less: now."""
        if self._share == NOTHING:
            return math.inf
        now = self._clock()
        wait_s = 0.0
        for name, bucket in (("keys", self._keys), ("bytes", self._bytes)):
            if bucket and bucket.wait_s(now) > wait_s:
                wait_s, self._held_by = bucket.wait_s(now), name
        return wait_s

    def _set_timer(self) -> None:
        wait_s = self._wait_s()
        due_at = self._clock() + wait_s
        if due_at < self._due_at:
            self._due_at = due_at
            self._later(wait_s, lambda: self._timer_came(due_at))

    def _timer_came(self, due_at: float) -> None:
        if due_at == self._due_at:  # else another one took its place
            self._call_held()

    def _call_held(self) -> None:
        """Let lanes go on, one after the other, as far as the share reaches; a timer calls again for the others."""
        self._due_at = math.inf
        try:
            while self._held and self._wait_s() <= 0:
                self._turn = next(iter(self._held))
                del self._held[self._turn]
                self._turn.go()
        finally:
            self._turn = None
            if self._held:
                self._set_timer()


def _changed(bucket: Bucket | None, rate: float | None, now: float) -> Bucket | None:
    if rate is None:
        return None
    if bucket is None:
        return Bucket(rate, now)
    bucket.change(rate, now)
    return bucket
