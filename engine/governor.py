"""What each worker may do: the limits of the run, lowered while the source is slow, in equal parts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection

from .limits import Limits
from .pulse import Pulse
from .text import size_text
from .throttle import Throttle
from .workers.endpoint import Endpoint
from .workers.pace import NOTHING, WINDOW_S, Share

#: The source's slowness is looked at so often …
LOOK_S = 0.25
#: … and set against the keys of so many seconds before.
RATE_S = 1.0
#: A far source needs larger windows to stay busy: they take at least this share of its round trip.
ROUND_TRIP_SHARE = 0.25


class Governor:
    """`begin` and `end` enclose the run; between them, `share` says what each worker may do now."""

    def __init__(self, limits: Limits, sources: list[Endpoint]) -> None:
        self.limits = limits
        self.throttle = Throttle(limits.slower_s) if limits.slower_s is not None else None
        self.pulses = [Pulse(source) for source in sources] if self.throttle else []
        self._looked_at = 0.0
        self._seen: deque[tuple[float, int]] = deque()  # when, and how many keys were done; from the first ones on

    def begin(self) -> None:
        """Begin to measure."""
        for pulse in self.pulses:
            pulse.start()

    def end(self) -> None:
        """Measure no more."""
        for pulse in self.pulses:
            pulse.end()

    def share(self, workers: int, keys: int) -> Share:
        """The part of each of `workers`, when `keys` keys are done in all."""
        if self.throttle and time.monotonic() >= self._looked_at + LOOK_S:
            self._look(self.throttle, keys)
        if not workers:
            return NOTHING
        rates = [rate for rate in (self.limits.keys_a_second, self._throttled) if rate is not None]
        size = self.limits.bytes_a_second
        return Share(
            keys_a_second=min(rates) / workers if rates else None,
            bytes_a_second=size / workers if size is not None else None,
            window_s=self._window_s,
        )

    def why(self, held_by: Collection[str]) -> str:
        """What holds the run back, when workers say that their windows wait for `keys` or `bytes`; else ""."""
        if "keys" in held_by:
            asked = self.limits.keys_a_second
            if self.throttle and self._throttled is not None and (asked is None or self._throttled < asked):
                return f"source {1000 * self.throttle.slower_s:.1f} ms"
            return f"--rate {asked:,} keys/s"
        if "bytes" in held_by:
            return f"--bandwidth {size_text(self.limits.bytes_a_second or 0)}/s"
        return ""

    @property
    def _throttled(self) -> float | None:
        """Keys a second that the source's slowness leaves; None: it has been quick so far."""
        return self.throttle.limit if self.throttle else None

    @property
    def _window_s(self) -> float:
        """The windows of all workers together should not make the source slower than it may become."""
        if self.throttle is None or self.throttle.limit is None:
            return WINDOW_S
        far_s = max(pulse.least_s for pulse in self.pulses)
        return min(WINDOW_S, max(self.throttle.bound_s / 2, far_s * ROUND_TRIP_SHARE))

    def _look(self, throttle: Throttle, keys: int) -> None:
        self._looked_at = now = time.monotonic()
        if not keys:
            return
        self._seen.append((now, keys))
        while len(self._seen) > 2 and self._seen[1][0] < now - RATE_S:
            self._seen.popleft()
        then, before = self._seen[0]
        if now - then > RATE_S / 2:
            slower_s = max(pulse.slower_s() for pulse in self.pulses)
            throttle.look(now, slower_s, max(0.0, (keys - before) / (now - then)))
