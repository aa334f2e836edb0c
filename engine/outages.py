"""Connections that workers, or the feed, have lost: each outage is told once, whoever had them, and its end once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

Where = tuple[str, str]  # side and address


class Outages:
    """`say` and `warn` are for the log; `retry_for_s` is how long workers try."""

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None], retry_for_s: float) -> None:
        self.say, self.warn, self.retry_for_s = say, warn, retry_for_s
        self._since: dict[Where, float] = {}

    def hear(self, lost: Iterable[list[str]]) -> set[Where]:
        """Take in the [side, address, reason] of one report: what is over by the next one is told as well."""
        reasons = {(side, address): why for side, address, why in lost}
        for where, why in reasons.items():
            if where not in self._since:
                self._since[where] = time.monotonic()
                self.warn(f"{' '.join(where)}: {why}; trying again for up to {self.retry_for_s:g} s")
        return set(reasons)

    def note(self, lost: Iterable[list[str]]) -> None:
        """Take in all [side, address, reason] that are lost now."""
        for where in self._since.keys() - self.hear(lost):
            lasted_s = time.monotonic() - self._since.pop(where)
            self.say(f"{' '.join(where)}: connected again after {lasted_s:.1f} s")

    def reasons(self) -> list[str]:
        """Why the run is slow, for `reasons.most_important`."""
        return [f"reconnecting: {' '.join(where)}" for where in self._since]
