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

LIMITATIONS
    1) Keys may come twice, at the borders and after a table shrank.
    2) The hash seed belongs to a process: all ranges of one pass must come from the same one.
    3) Servers whose cursor means something else must not be split (`partitioners.probe`).
"""

from __future__ import annotations

RING = 1 << 64

#: Borders keep this many bits, so that cursors at which ranges begin stay below 2^32: safe for any middleman.
BORDER_BITS = 32


def rev64(bits: int) -> int:
    """The 64 bits of a number in reversed order; its own inverse."""
    return int(f"{bits:064b}"[::-1], 2)


def position_of(cursor: int) -> int:
    """The position that a cursor in a reply stands for; cursor 0 in a reply is the end of the ring."""
    return rev64(cursor) if cursor else RING


def cursor_at(position: int) -> int:
    """The cursor to ask for in order to read on from a position in [0, RING)."""
    return rev64(position)


def tile(ranges: int) -> list[tuple[int, int]]:
    """`ranges` pairs (start, end) that follow each other and together cover the ring."""
    cuts = [(j << BORDER_BITS) // ranges << (64 - BORDER_BITS) for j in range(ranges)] + [RING]
    return list(zip(cuts, cuts[1:]))


def expected_keys(start: int, end: int, keys: int) -> float:
    """How many of `keys` evenly spread keys lie between two positions."""
    return (end - start) / RING * keys
