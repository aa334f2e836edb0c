"""SCAN cursors as positions on a ring.

HOW IT WORKS
    A server's hash table is walked by SCAN in the order of the reversed bits of the bucket number. So the
    position P = rev64(cursor) only ever grows, from 0 to 2^64, and a key lives at P = rev64(hash of the key).
    One SCAN call that goes from position p to position q returns every key with a position in [p, q) that is in
    the table at that moment (proof: the server's own comments on dictScan and hashtableScan).
    A range [start, end) is covered by starting at cursor rev64(start) and calling until the cursor is 0 or its
    position has reached `end`. Ranges that tile [0, 2^64) cover the table.

WHAT HAPPENS IF THE TABLE CHANGES IN SIZE
    Nothing is lost: a bucket splits into two neighbours, or two neighbours become one, and a call that starts
    in the middle of a bucket returns all of it.

IN A CLUSTER, FROM REDIS 7.4 AND VALKEY 8.0 ON
    A node has a table for each slot, and walks them in the order of the slots: cursor = (cursor in the table << 14) |
    slot. So its position is the slot, then the position in that slot's table, of which the lowest 14 bits are always 0:
    again a number in [0, 2^64) that only grows. `by_slot` tells these cursors apart.

LIMITATIONS
    1) Keys may come twice, at the borders and after a table shrank.
    2) The hash seed belongs to a process: all ranges of one pass must come from the same one.
    3) Servers whose cursor means something else must not be split (`partitioners.probe`).
"""

from __future__ import annotations

from .slots import MASK

RING = 1 << 64
#: Cursors by slot: bits of the slot, and bits that are left for the position in its table.
SLOT_BITS = 14
TABLE_BITS = 64 - SLOT_BITS

#: Borders keep this many bits, so that cursors at which ranges begin stay below 2^32: safe for any middleman.
BORDER_BITS = 32


def rev64(bits: int) -> int:
    """The 64 bits of a number in reversed order; its own inverse."""
    return int(f"{bits:064b}"[::-1], 2)


def position_of(cursor: int, by_slot: bool = False) -> int:
    """The position that a cursor in a reply stands for; cursor 0 in a reply is the end of the ring."""
    if not cursor:
        return RING
    if by_slot:
        return position_of_slot(cursor & MASK) | rev64(cursor >> SLOT_BITS) >> SLOT_BITS
    return rev64(cursor)


def cursor_at(position: int, by_slot: bool = False) -> int:
    """The cursor to ask for in order to read on from a position in [0, RING)."""
    if by_slot:
        slot = position >> TABLE_BITS
        return rev64(position << SLOT_BITS & RING - 1) << SLOT_BITS | slot
    return rev64(position)


def position_of_slot(slot: int) -> int:
    """Where a slot begins, for cursors by slot; slot 16384 begins at RING."""
    return slot << TABLE_BITS


def slot_at(position: int) -> int:
    """The slot that a position lies in, for cursors by slot."""
    return position >> TABLE_BITS


def tile(ranges: int) -> list[tuple[int, int]]:
    """`ranges` pairs (start, end) that follow each other and together cover the ring."""
    cuts = [(j << BORDER_BITS) // ranges << (64 - BORDER_BITS) for j in range(ranges)] + [RING]
    return list(zip(cuts, cuts[1:]))


def expected_keys(start: int, end: int, keys: int) -> float:
    """How many of `keys` evenly spread keys lie between two positions."""
    return (end - start) / RING * keys
