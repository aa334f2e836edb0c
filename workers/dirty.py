"""The dirty set: names of keys that have changed and wait to be read again, each once, bounded in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: What a name costs in memory beside its own bytes: the object and its place in a table.
NAME_BYTES = 120
#: … and in a message.
WIRE_BYTES = 5


@dataclass
class Dirtied:
    """Names of one database that are taken together; times are of `time.monotonic`, which processes share."""

    db: int
    keys: list[bytes]
    oldest: float  # when the first event of those that wait longest arrived
    newest: float  # no event of these keys arrived later
    woken: float = 0.0  # when the key, which is slow to copy, had rested

    @property
    def behind_since(self) -> float:
        """From when on the target is behind with them; a rest does not count."""
        return max(self.oldest, self.woken)

    def pack(self) -> list:
        """The fields in their order."""
        return [self.db, self.keys, self.oldest, self.newest]


class DirtySet:
    """Names by database, of each the oldest first.

    A name that comes again while it waits keeps its place: one read settles both.

    `full` once it had to drop everything: what waited is lost, and only a sweep finds it again.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self.full = False
        self._newest = 0.0
        self._keys: dict[int, dict[bytes, float]] = {}  # database -> name -> when its first event arrived

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    @property
    def oldest(self) -> float:
        """When the event that has waited longest arrived; 0 where nothing waits."""
        return min((next(iter(keys.values())) for keys in self._keys.values() if keys), default=0.0)

    def add(self, db: int, keys: Iterable[bytes], now: float) -> None:
        """These have changed."""
        held = self._keys.setdefault(db, {})
        before, size = len(held), 0
        for key in keys:
            if key not in held:
                held[key] = now
                size += len(key)
        self.bytes += size + NAME_BYTES * (len(held) - before)
        self._newest = now
        if self.bytes > self.most_bytes:
            self.clear()
            self.full = True

    def take(self, most_bytes: int) -> list[Dirtied]:
        """Of each database the names that have waited longest, about so many bytes; they do not wait any more.

        Each has a share of the room, of one name at least: one that is written all the time keeps no other waiting.
        Those with few names are first, so that what they do not need is the others'.
        """
        taken: list[Dirtied] = []
        waiting = sorted((db for db, held in self._keys.items() if held), key=lambda db: len(self._keys[db]))
        for place, db in enumerate(waiting):
            held = self._keys[db]
            oldest = next(iter(held.values()))
            keys, size = _first(held, most_bytes // (len(waiting) - place))
            if len(keys) == len(held):
                held.clear()
            else:
                for key in keys:
                    del held[key]
            most_bytes -= size + WIRE_BYTES * len(keys)
            self.bytes -= size + NAME_BYTES * len(keys)
            taken.append(Dirtied(db, keys, oldest, self._newest))
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._keys.clear()
        self.bytes = 0


def wire_bytes(dirtied: Dirtied) -> int:
    """What names take in a message."""
    return sum(map(len, dirtied.keys)) + WIRE_BYTES * len(dirtied.keys)


def _first(held: dict[bytes, float], most_bytes: int) -> tuple[list[bytes], int]:
    """The first names, at least one, until they have so many bytes; and how many bytes they have."""
    keys, size = [], 0
    for key in held:
        keys.append(key)
        size += len(key)
        if size + WIRE_BYTES * len(keys) >= most_bytes:
            break
    return keys, size
