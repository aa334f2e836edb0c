"""How many keys a second a slow source lets us have: less as soon as it is too slow, more again little by little.

HOW IT WORKS
    Nobody can say in advance how many keys a second make a server slow, so it is found out: additive increase,
    multiplicative decrease, as TCP does it. The first time that the source is too slow, the rate at that moment becomes
    the limit, less a share that grows with the excess. While it stays too slow, the limit goes down again, but only
    after the last step has had time to show. While it is quick, the limit goes up in small steps of the best rate seen.
    It ends a little above that: the limit then holds nothing back but keeps windows short, and what was slow
    because of large windows stays quick at nearly the full rate.
WHAT HAPPENS IF the source is slow for another reason: the limit falls to a small share of the best rate, not to 0.
"""

from __future__ import annotations

#: A step down has so long to show before the next one.
SETTLE_S = 1.0
#: A step down leaves this share where the source is just over the bound, less where it is worse, but never below …
KEEP_MOST, KEEP_LEAST = 0.9, 0.5
#: A step up, and the smallest and the largest limit, as shares of the best rate seen.
STEP, LEAST, MOST = 0.04, 0.05, 1.25
#: Between this share of the bound and the bound, the limit stays as it is.
CALM = 0.8


class Throttle:
    """`bound_s` is how much slower the source may become. `limit` is keys a second; None: it has been quick so far."""

    def __init__(self, bound_s: float) -> None:
        self.bound_s = bound_s
        self.limit: float | None = None
        self.slower_s = 0.0  # what made the limit go down last
        self._best = 0.0
        self._settled_at = 0.0

    def look(self, now: float, slower_s: float, keys_a_second: float) -> None:
        """Take in, some times a second, how slow the source is and how many keys a second have been copied lately."""
        self._best = max(self._best, keys_a_second)
        if slower_s > self.bound_s:
            self.slower_s = slower_s
        if now < self._settled_at or not self._best:
            return
        if slower_s > self.bound_s:
            keep = max(KEEP_LEAST, KEEP_MOST * self.bound_s / slower_s)
            self.limit = max(keep * self._rate(keys_a_second), LEAST * self._best)
            self._settled_at = now + SETTLE_S
        elif self.limit is not None and slower_s < CALM * self.bound_s:
            self.limit = min(self.limit + STEP * self._best, MOST * self._best)

    def _rate(self, keys_a_second: float) -> float:
        """What goes through now. Keys are acknowledged in lumps, so a low figure is not believed at once."""
        if self.limit is None:
            return keys_a_second
        return min(self.limit, max(keys_a_second, self.limit / 2))
