"""Keys that the servers throw away while we copy, and how much of the source's memory our replies may take.

WHY
    A cache at its `maxmemory` makes room by evicting keys. Replies that we have not taken yet count as its memory, so
    a copy that asks for too much at a time destroys what it is to copy, and finds nothing missing afterwards.

HOW IT WORKS
    The workers together may have asked for `unread_bytes(…)`; each keeps to its share (`workers/budget.py`). Both
    servers are looked at about every second. What is free at the source may shrink, and then the budget does; where
    keys were evicted all the same, it is halved besides. Whose memory it was cannot be told from outside, so evicted
    keys forbid exit code 0, at the source unless --accept-eviction says that a cache is expected to evict.
"""

from __future__ import annotations

from .partitioners.control import Control
from .partitioners.topology import Server
from .text import plural
from .workers.errors import AccessError
from .workers.resp import info_fields

#: The servers are looked at so often.
LOOK_S = 1.0
#: … and so much later where a control connection was lost: to connect may take long.
LOST_S = 30.0
#: No more than this is asked for at a time, and no more than this part of what is free at the source …
MOST_BYTES = 64 << 20
FREE_SHARE = 4
#: … but so much always, or a copy of a full cache would not end; its own clients make it evict anyway.
LEAST_BYTES = 128 << 10
#: What to do about evicted keys.
SOURCE_ADVICE = "raise its maxmemory, or accept it (--accept-eviction)"
TARGET_ADVICE = "raise its maxmemory, and copy again"
#: Workers are told of changes by more than this part.
CHANGE_SHARE = 8


def unread_bytes(maxmemory: int, used_memory: int, halvings: int = 0) -> int:
    """How many bytes of replies all workers together may have asked for and not received, at a source like this."""
    free = MOST_BYTES * FREE_SHARE if not maxmemory else max(0, maxmemory - used_memory)
    return max(LEAST_BYTES, min(MOST_BYTES, free // FREE_SHARE) >> min(halvings, 32))


class Evicted:
    """How many keys a server has evicted since `before`."""

    def __init__(self, control: Control, before: int) -> None:
        self.control, self.last = control, before
        self.keys = 0

    def take_in(self, reply: object) -> dict[str, str]:
        """Add up what an INFO reply tells; its fields."""
        info = info_fields(reply) if isinstance(reply, bytes) else {}
        now = int(info.get("evicted_keys", self.last))
        self.keys += now - self.last if now >= self.last else now  # below: somebody has reset the figures
        self.last = now
        return info


class Watch:
    """Looks at both servers while a copy runs; `unread_bytes` is the budget now."""

    def __init__(self, source: tuple[Control, Server], target: tuple[Control, Server]) -> None:
        self.source, self.target = (Evicted(control, server.evicted_keys) for control, server in (source, target))
        self.unread_bytes = unread_bytes(source[1].maxmemory, source[1].used_memory)
        self.halvings = 0
        self.looked_at = 0.0

    def look(self, now: float) -> int | None:
        """Ask both servers when it is time to, take in what they have answered; a new budget when it has changed."""
        try:
            return self._look(now)
        except AccessError:
            self.looked_at = now + LOST_S
            return None

    def _look(self, now: float) -> int | None:
        asks = now - self.looked_at >= LOOK_S
        before, budget = self.source.keys, None
        for side in (self.source, self.target):
            if (reply := side.control.answer()) is not None:
                info = side.take_in(reply)
                if side is self.source and info:
                    budget = self._budget(info, evicts=side.keys > before)
            if asks:
                self.looked_at = now
                side.control.ask("INFO")
        return budget

    def last_look(self) -> None:
        """Wait for the figures at the end. Raises AccessError."""
        for side in (self.source, self.target):
            side.take_in(side.control.call("INFO"))

    def warnings(self) -> list[tuple[str, str]]:
        """What to tell of keys that were evicted meanwhile, and what to do about it: a pair a side."""
        sides = ((self.source, SOURCE_ADVICE), (self.target, TARGET_ADVICE))
        return [
            (f"the {side.control.side} evicted {plural(side.keys, 'key')} meanwhile", advice)
            for side, advice in sides
            if side.keys
        ]

    def _budget(self, info: dict[str, str], evicts: bool) -> int | None:
        self.halvings += evicts
        budget = unread_bytes(int(info.get("maxmemory", 0)), int(info.get("used_memory", 0)), self.halvings)
        if abs(budget - self.unread_bytes) <= self.unread_bytes // CHANGE_SHARE:
            return None
        self.unread_bytes = budget
        return budget
