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

from collections.abc import Iterable

from .partitioners.control import Control
from .partitioners.server import Server
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

    def go_on(self, before: Evicted) -> None:
        """An earlier pass has watched the same server: what it saw counts, and what has come since."""
        self.keys, self.last = before.keys, before.last

    def take_in(self, reply: object) -> dict[str, str]:
        """Add up what an INFO reply tells; its fields."""
        info = info_fields(reply) if isinstance(reply, bytes) else {}
        now = int(info.get("evicted_keys", self.last))
        self.keys += now - self.last if now >= self.last else now  # below: somebody has reset the figures
        self.last = now
        return info


class Watch:
    """Looks at all nodes of both sides while a copy runs; `unread_bytes` is the budget of each source now."""

    def __init__(self, sources: Iterable[tuple[Control, Server]], targets: Iterable[tuple[Control, Server]]) -> None:
        sources = list(sources)
        self.sources = [Evicted(control, server.evicted_keys) for control, server in sources]
        self.targets = [Evicted(control, server.evicted_keys) for control, server in targets]
        self.unread_bytes = [unread_bytes(server.maxmemory, server.used_memory) for _, server in sources]
        self.halvings = [0 for _ in sources]
        self.feed_bytes = 0  # of a live copy: events that wait in a source's memory
        self.looked_at = 0.0

    @property
    def keys(self) -> tuple[int, int]:
        """How many keys source and target have evicted meanwhile."""
        return sum(node.keys for node in self.sources), sum(node.keys for node in self.targets)

    def look(self, now: float) -> list[int] | None:
        """Ask all nodes when it is time to, take in what they have answered; new budgets when one has changed."""
        try:
            return self._look(now)
        except AccessError:
            self.looked_at = now + LOST_S
            return None

    def _look(self, now: float) -> list[int] | None:
        asks = now - self.looked_at >= LOOK_S
        if asks:
            self.looked_at = now
        changed = False
        for number, node in enumerate(self.sources):
            before = node.keys
            if (info := self._hear(node, asks)) is not None:
                changed = self._set_budget(number, info, evicts=node.keys > before) or changed
        for node in self.targets:
            self._hear(node, asks)
        return list(self.unread_bytes) if changed else None

    def _hear(self, node: Evicted, asks: bool) -> dict[str, str] | None:
        """The fields of the INFO that has come since the last call."""
        reply = node.control.answer("INFO")
        info = node.take_in(reply) if reply is not None else None
        if asks:
            node.control.ask("INFO")
        return info or None

    def last_look(self) -> None:
        """Wait for the figures at the end. Raises AccessError."""
        for node in self.sources + self.targets:
            node.take_in(node.control.call("INFO"))

    def warnings(self) -> list[tuple[str, str]]:
        """What to tell of keys that were evicted meanwhile, and what to do about it: a pair a side."""
        sides = zip(("source", "target"), self.keys, (SOURCE_ADVICE, TARGET_ADVICE))
        return [(f"the {side} evicted {plural(keys, 'key')} meanwhile", advice) for side, keys, advice in sides if keys]

    def _set_budget(self, number: int, info: dict[str, str], evicts: bool) -> bool:
        """Whether a source's budget has changed by so much that workers are told."""
        self.halvings[number] += evicts
        maxmemory, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
        now = self.unread_bytes[number]
        # What a change feed has not taken yet is a part of the same budget.
        budget = max(LEAST_BYTES, unread_bytes(maxmemory, used, self.halvings[number]) - self.feed_bytes)
        if abs(budget - now) <= now // CHANGE_SHARE:
            return False
        self.unread_bytes[number] = budget
        return True
