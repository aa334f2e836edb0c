"""May this server's cursors be split? Found out by trying, never by the version number.

The probe reads about 140 small SCANs (some 15 ms on a near server), sent in three lots, as a server may be far away.
A ring shows by what it returns: positions advance, arcs hold as many keys as they should, the middle of an arc brings
a part of its keys, other arcs bring others. Each simulated foreign scheme (shard numbers in low or high bits, offsets,
tables of cursors) breaks one of these. What breaks only later is caught on each reply while copying (`workers.scan`).
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

Step = tuple[int, list[bytes]]  # the position reached, and the keys that came
#: Several SCANs from a position each, by COUNT each; sent together, for the way to the server may be long.
Scan = Callable[[list[tuple[int, int]]], list[Step]]


class _NoRing(Exception):
    """Why the cursors are no ring."""


def why_not_a_ring(control: Control, db_keys: int) -> str:
    """'' when the selected database's cursors are positions on a ring, else the reason in a few words."""

    def scan(asked: list[tuple[int, int]]) -> list[Step]:
        replies = control.call_all([("SCAN", cursor_at(position), "COUNT", count) for position, count in asked])
        return [_step(position, count, reply, db_keys) for (position, count), reply in zip(asked, replies)]

    try:
        _probe_arcs(scan, db_keys)
        _probe_edges(scan, db_keys)
    except _NoRing as reason:
        return str(reason)
    return ""


def _step(position: int, count: int, reply: object, db_keys: int) -> Step:
    """What one SCAN from a position brought, once it has been checked."""
    if isinstance(reply, ReplyError):
        raise _NoRing(f"SCAN {cursor_at(position)} is refused: {reply}")
    try:
        reached, keys = position_of(int(reply[0])), reply[1]  # type: ignore[index]
    except ValueError:
        raise _NoRing("cursors are no numbers") from None
    if reached <= position:
        raise _NoRing("a position went back")
    if expected_keys(position, reached, db_keys) > 4 * len(keys) + 8 * count:
        raise _NoRing("an arc holds far fewer keys than it should")
    return reached, keys


def _probe_arcs(scan: Scan, db_keys: int) -> None:
    starts = [j * RING // STARTS for j in range(STARTS)]
    arcs = scan([(start, COUNT) for start in starts])
    seen: set[bytes] = set()
    for _, keys in arcs:
        if not keys:
            raise _NoRing("an arc is empty")
        if len(seen.intersection(keys)) > max(1, len(set(keys)) // 4):
            raise _NoRing("two arcs hold the same keys")
        seen.update(keys)
    _probe_middles(scan, starts, arcs)
    covered = sum(end - start for start, (end, _) in zip(starts, arcs))
    density = sum(len(keys) for _, keys in arcs) / (covered / RING * db_keys)
    if not DENSITY[0] < density < DENSITY[1]:
        raise _NoRing(f"{density:.2f} keys returned for each one expected")


def _probe_middles(scan: Scan, starts: list[int], arcs: list[Step]) -> None:
    """What lies from the middle of an arc to its end must have been in the arc."""
    middles = [start + (end - start) // 2 for start, (end, _) in zip(starts, arcs)]
    for (end, arc), (reached, keys) in zip(arcs, scan([(middle, max(1, COUNT // 4)) for middle in middles])):
        if reached <= end and len(set(keys).difference(arc)) > max(1, len(keys) // 4):
            raise _NoRing("the second half of an arc is not a part of it")


def _probe_edges(scan: Scan, db_keys: int) -> None:
    back = RING // db_keys * COUNT // 2
    edges = [RING >> bit for bit in range(1, EDGE_BITS + 1)]
    scan([(edge - back, COUNT) for edge in edges if edge >= 4 * back])
