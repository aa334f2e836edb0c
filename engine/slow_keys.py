"""Keys that are slow to copy: in a live copy, each rests before it is copied again.

WHAT HAPPENS IF a key is slow to copy and always changing: it rests (`rests`), at least ten times as long as its copy
took. Its event waits all the while: nobody may call it settled before the copy that follows the rest is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .workers.dirty import Dirtied

#: A key that takes long to copy rests so many times as long before it is copied again.
REST = 10.0
#: Keys that are known to be slow, at most.
MOST_SLOW = 10_000

Name = tuple[int, bytes]  # database and key


@dataclass
class _Slow:
    """A key that takes long to copy: not again before `due`."""

    due: float
    dirtied: Dirtied | None = None  # it has changed meanwhile


class SlowKeys:
    """Call `rests` for each, `sift` what is to be read, and `wake` those that have rested; times are monotonic."""

    def __init__(self) -> None:
        self.known: dict[Name, _Slow] = {}
        self.hurry = False  # nothing rests any more: the run is to end

    @property
    def resting(self) -> list[Dirtied]:
        """What has changed, and waits for the end of its rest."""
        return [slow.dirtied for slow in self.known.values() if slow.dirtied]

    def rests(self, db: int, key: bytes, took_s: float, now: float) -> None:
        """The copy of a key took so long: it is not copied again before it has rested."""
        if known := self.known.get((db, key)):
            known.due = now + REST * took_s  # what rests already goes on
        elif len(self.known) < MOST_SLOW:
            self.known[db, key] = _Slow(now + REST * took_s)

    def sift(self, dirtied: Dirtied, keys: list[bytes], now: float) -> tuple[list[bytes], list[bytes]]:
        """Those of the keys that are not slow, and those that are slow and have rested."""
        quick, alone = [], []
        for key in keys:
            slow = self.known.get((dirtied.db, key))
            if slow is None:
                quick.append(key)
            elif self.hurry or slow.due <= now:
                alone.append(key)
            else:
                before = slow.dirtied or dirtied
                oldest, newest = min(before.oldest, dirtied.oldest), max(before.newest, dirtied.newest)
                slow.dirtied = Dirtied(dirtied.db, [key], oldest, newest)
        return quick, alone

    def wake(self, now: float) -> list[Dirtied]:
        """What has rested; what was slow once and has not changed since is forgotten."""
        woken = []
        for name, slow in list(self.known.items()):
            if not (self.hurry or slow.due <= now):
                continue
            if slow.dirtied:
                woken.append(replace(slow.dirtied, woken=now))
                slow.dirtied = None
            elif slow.due + REST <= now:
                del self.known[name]
        return woken
