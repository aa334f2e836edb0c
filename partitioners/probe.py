"""May this server's cursors be split? Found out by trying, never by the version number.

The probe reads about 140 small SCANs (some 15 ms on a near server). A ring shows by what it returns: positions
advance, arcs hold as many keys as they should, the middle of an arc brings a part of its keys, other arcs bring
others. Each simulated foreign scheme (shard numbers in low or high bits, offsets, tables of cursors) breaks one of
these. What breaks only later is caught on each reply while copying (`workers.scan`).
"""

from __future__ import annotations

from collections.abc import Callable

from ..workers.cursor import RING, cursor_at, expected_keys, position_of
from .control import Control, ReplyError

STARTS = 64
COUNT = 32
#: Below this many keys one range does; the probe needs 8 * STARTS * COUNT to tell a ring by its density.
MIN_KEYS = 20_000
#: Returned keys per expected key, over all arcs read, must lie in here.
DENSITY = (0.6, 1.67)
#: A shard number in the lowest bits of a cursor shows as a jump at 1/2, 1/4, … of the ring; tried to this depth.
EDGE_BITS = 14

Scan = Callable[[int, int], tuple[int, list[bytes]]]


class _NoRing(Exception):
    """Why the cursors are no ring."""


def why_not_a_ring(control: Control, db_keys: int) -> str:
    """'' when the selected database's cursors are positions on a ring, else the reason in a few words."""

    def scan(cursor: int, count: int) -> tuple[int, list[bytes]]:
        reply = control.call("SCAN", cursor, "COUNT", count)
        if isinstance(reply, ReplyError):
            raise _NoRing(f"SCAN {cursor} is refused: {reply}")
        try:
            return int(reply[0]), reply[1]
        except ValueError:
            raise _NoRing("cursors are no numbers") from None

    try:
        _probe_arcs(scan, db_keys)
        _probe_edges(scan, db_keys)
    except _NoRing as reason:
        return str(reason)
    return ""


def _step(scan: Scan, position: int, count: int, db_keys: int) -> tuple[int, list[bytes]]:
    """One SCAN from a position: where it got to, and its keys."""
    cursor, keys = scan(cursor_at(position), count)
    reached = position_of(cursor)
    if reached <= position:
        raise _NoRing("a position went back")
    if expected_keys(position, reached, db_keys) > 4 * len(keys) + 8 * count:
        raise _NoRing("an arc holds far fewer keys than it should")
    return reached, keys


def _probe_arcs(scan: Scan, db_keys: int) -> None:
    seen: set[bytes] = set()
    returned = 0
    covered = 0
    for j in range(STARTS):
        start = j * RING // STARTS
        end, keys = _step(scan, start, COUNT, db_keys)
        arc = set(keys)
        if not arc:
            raise _NoRing("an arc is empty")
        _probe_middle(scan, start, end, arc, db_keys)
        if len(arc & seen) > max(1, len(arc) // 4):
            raise _NoRing("two arcs hold the same keys")
        seen |= arc
        returned += len(keys)
        covered += end - start
    density = returned / (covered / RING * db_keys)
    if not DENSITY[0] < density < DENSITY[1]:
        raise _NoRing(f"{density:.2f} keys returned for each one expected")


def _probe_middle(scan: Scan, start: int, end: int, arc: set[bytes], db_keys: int) -> None:
    """What lies from the middle of an arc to its end must have been in the arc."""
    reached, keys = _step(scan, start + (end - start) // 2, max(1, COUNT // 4), db_keys)
    if reached <= end and len(set(keys) - arc) > max(1, len(keys) // 4):
        raise _NoRing("the second half of an arc is not a part of it")


def _probe_edges(scan: Scan, db_keys: int) -> None:
    back = RING // db_keys * COUNT // 2
    for bit in range(1, EDGE_BITS + 1):
        edge = RING >> bit
        if edge < 4 * back:
            return
        _step(scan, edge - back, COUNT, db_keys)
