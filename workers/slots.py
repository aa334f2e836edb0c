"""Hash slots of a cluster: which slot a key belongs to, and lists of keys in the order of their slots.

A slot is the CRC16 of the key, or of its hash tag: what stands between the first { and the next }, unless that is
empty. The hot path has no call of ours for a key without a brace.
"""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import and_

SLOTS = 1 << 14
MASK = SLOTS - 1

#: With fewer keys a command than this, one for each key is no slower.
RUN_KEYS = 2
#: Of so many keys a slot, looking for its last one costs less than the slot of each.
LONG_RUN_KEYS = 32

Range = tuple[int, int]  # of slots: the first and the last one


def hashed_part(key: bytes) -> bytes:
    """What of a key is hashed."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            return key[begin + 1 : end]
    return key


def slot_of(key: bytes) -> int:
    """The slot of one key."""
    return crc_hqx(hashed_part(key), 0) & MASK


def slots_of(keys: Sequence[bytes]) -> list[int]:
    """The slot of each key."""
    if b"{" in b"".join(keys):
        keys = [hashed_part(key) if b"{" in key else key for key in keys]
    return list(map(and_, map(crc_hqx, keys, repeat(0)), repeat(MASK)))


def in_slot_order(keys: list[bytes]) -> tuple[list[bytes], list[int]]:
    """The keys, sorted by slot, and the slot of each. A scan by slots brings them in this order already."""
    return _sorted(keys, slots_of(keys))


def _sorted(keys: list[bytes], slots: list[int]) -> tuple[list[bytes], list[int]]:
    ordered = sorted(slots)
    if ordered == slots:
        return keys, slots
    order = sorted(range(len(keys)), key=slots.__getitem__)
    return [keys[number] for number in order], ordered


def are_shared(slots: Sequence[int]) -> bool:
    """Whether slots have enough keys each that commands of several keys pay."""
    return len(set(slots)) * RUN_KEYS <= len(slots)


def arranged(keys: list[bytes], scanned: bool = False) -> tuple[list[bytes], list[int], bool]:
    """The keys, the slot of each, and whether slots are shared: only then they are in the order of their slots.

    Keys of a ring lie in any slots, hardly two in the same: sorting them would cost more than it is good for. Those
    that a scan by slots has brought come in the order of their slots.
    """
    slots = _slots_in_order(keys) if scanned else slots_of(keys)
    return (keys, slots, False) if not are_shared(slots) else (*_sorted(keys, slots), True)


def _slots_in_order(keys: list[bytes]) -> list[int]:
    """The slot of each of some keys that come slot by slot. Where slots have many, only their ends are looked for.

    Should they come in another order after all, servers refuse what is made of that (CROSSSLOT, MOVED).
    """
    first, last = slot_of(keys[0]), slot_of(keys[-1])
    if not 0 < (last - first + 1) * LONG_RUN_KEYS <= len(keys):
        return slots_of(keys)
    slots: list[int] = []
    while (begin := len(slots)) < len(keys):
        slot = slot_of(keys[begin])
        slots += [slot] * (bisect_right(keys, slot, begin, key=slot_of) - begin)
    return slots


def runs_of(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Where each slot begins and ends in a sorted list of slots: (begin, end) for each."""
    runs, begin, count = [], 0, len(slots)
    while begin < count:
        end = bisect_right(slots, slots[begin], begin)
        runs.append((begin, end))
        begin = end
    return runs


def owners_of(nodes: Sequence[Sequence[Range]]) -> list[int]:
    """For each slot the number of the node that owns it, by the ranges of each node; -1 for a slot without owner."""
    owners = [-1] * SLOTS
    for number, ranges in enumerate(nodes):
        for first, last in ranges:
            owners[first : last + 1] = [number] * (last + 1 - first)
    return owners


def ranges_of(slots: Sequence[int]) -> list[Range]:
    """Sorted slots as ranges."""
    found: list[Range] = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = found[-1][0], slot
        else:
            found.append((slot, slot))
    return found


class Owners:
    """Which node each slot belongs to; `pieces` cuts sorted slots where the owner changes, without a call a key."""

    def __init__(self, owners: list[int]) -> None:
        self.by_slot = owners
        self._found_borders: list[int] | None = None
        self._soles: dict[tuple[Range, ...], int | None] = {}

    def move(self, slot: int, node: int) -> None:
        """The slot belongs to this node from now on."""
        if self.by_slot[slot] != node:
            self.by_slot[slot] = node
            self._found_borders = None
            self._soles.clear()

    def sole(self, ranges: Sequence[Range]) -> int | None:
        """The node that owns all slots of these ranges; None: there are several, or one without owner."""
        known = tuple(ranges)
        if known not in self._soles:
            found = set().union(*(self.by_slot[first : last + 1] for first, last in ranges))
            self._soles[known] = found.pop() if len(found) == 1 and -1 not in found else None
        return self._soles[known]

    def by_node(self, slots: Sequence[int]) -> list[tuple[int, list[int]]]:
        """(node, places in the list) for each node that owns some of the slots, which are in any order."""
        nodes = list(map(self.by_slot.__getitem__, slots))
        order = sorted(range(len(nodes)), key=nodes.__getitem__)
        nodes.sort()
        parts, begin = [], 0
        while begin < len(nodes):
            end = bisect_right(nodes, nodes[begin], begin)
            parts.append((nodes[begin], order[begin:end]))
            begin = end
        return parts

    def only(self, *lists: Sequence[int]) -> int | None:
        """The node that owns all of these slots; None: there are several, or no slots."""
        found = set().union(*(map(self.by_slot.__getitem__, slots) for slots in lists))
        return found.pop() if len(found) == 1 else None

    def between(self, first: int, last: int) -> int | None:
        """The node that owns all slots from the first to the last one; None: there are several."""
        borders = self._borders()
        return self.by_slot[first] if bisect_right(borders, first) == bisect_right(borders, last) else None

    def pieces(self, slots: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(node, begin, end) for each stretch of a sorted list of slots that one node owns."""
        borders = self._borders()
        begin, count = 0, len(slots)
        while begin < count:
            node = self.by_slot[slots[begin]]
            at = bisect_right(borders, slots[begin])
            end = bisect_left(slots, borders[at], begin) if at < len(borders) else count
            yield node, begin, end
            begin = end

    def _borders(self) -> list[int]:
        """The slots that have another owner than the one before."""
        if self._found_borders is None:
            owners = self.by_slot
            self._found_borders = [slot for slot in range(1, SLOTS) if owners[slot] != owners[slot - 1]]
        return self._found_borders
