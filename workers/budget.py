"""The budget: how much of a source's memory the replies may take that were asked for and are not yet received.

WHY
    A server counts replies that nobody has taken yet as its own memory. A cache near its `maxmemory` makes room for
    them by evicting keys: the very keys that are to be copied. So the coordinator allows the workers together a part
    of what is free there (`engine/eviction.py`), and every lane takes what it expects to be sent from this account
    before it asks, and gives it back when the window is settled. That is later than the server needs, and so it
    bounds our own memory too.

LIMITATION
    A value larger than the whole share has to be read all the same, while nothing else is on its way; comparisons take
    it in pieces. Where only small values have come before, the first one of such a size is not expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .resp import CRLF

#: A window should bring about so many bytes of values. Larger ones no longer fit the processors' caches on their way
#: through source, worker and target: with four times as many, the source needs a tenth to a fifth more time for a key.
WINDOW_BYTES = 256 << 10
#: Windows become smaller where a worker's share would not hold so many of them.
WINDOWS_A_SHARE = 4
#: With less than this over all workers a few unexpected giants are too many: the size of each key is asked first.
TIGHT_BYTES = 16 << 20
#: The command that tells a key's size, up to the key; it does not make the key look used.
MEMORY_USAGE = b"\r\n*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE"


@dataclass
class Budget:
    """One worker's account with one source node: `total` bytes are shared equally by `workers`."""

    total: int
    workers: int = 1
    asked: int = 0  # bytes that windows and scans on their way are expected to bring
    _waiting: dict[Callable[[], None], None] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """The share of this worker in bytes."""
        return self.total // self.workers

    @property
    def window_bytes(self) -> int:
        """What one window should bring at most."""
        return min(WINDOW_BYTES, self.limit // WINDOWS_A_SHARE)

    @property
    def tight(self) -> bool:
        """Whether no window may be asked for before the sizes of its keys are known."""
        return self.total < TIGHT_BYTES

    @property
    def short(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def take(self, size: int, again: Callable[[], None]) -> bool:
        """Whether `size` bytes may be asked for now; if not, again() is called when others have given theirs back."""
        if self.asked and self.asked + size > self.limit:
            self._waiting[again] = None
            return False
        self.asked += size
        return True

    def give(self, size: int) -> None:
        """So many bytes are no longer expected."""
        self.asked -= size
        if self._waiting:
            self._wake()

    def resize(self, total: int) -> None:
        """From now on there is another sum to share."""
        self.total = total
        self._wake()

    def _wake(self) -> None:
        """Let those that wait try again, each once, the one that has waited longest first."""
        for again in list(self._waiting):
            if self.asked >= self.limit:
                return
            del self._waiting[again]
            again()


def sizes_request(encoded: Sequence[bytes]) -> tuple[bytes, int]:
    """Asks for the size in memory of each key; and how many replies it brings."""
    return MEMORY_USAGE[len(CRLF) :] + MEMORY_USAGE.join(encoded) + CRLF, len(encoded)


def sizes_of(replies: Sequence[object], unknown: int) -> list[int]:
    """The sizes in bytes: 0 for a key that is gone, `unknown` where the server does not tell."""
    return [reply if isinstance(reply, int) else 0 if reply is None else unknown for reply in replies]


def fitting(sizes: Sequence[int], most_keys: int, most_bytes: int) -> tuple[int, int]:
    """How many of the keys with these sizes make the next window, at least one, and their bytes together."""
    count = total = 0
    for size in sizes[:most_keys]:
        if count and total + size > most_bytes:
            break
        count += 1
        total += size
    return count, total
