"""How the slots of a cluster's node are cut into ranges, where cursors go by slot, and whether they do.

A range holds neighbouring slots with about `ranges.RANGE_KEYS` keys together. A slot with far more keys is cut by the
position in its table, like a database of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..workers.cursor import RING, TABLE_BITS, position_of_slot
from ..workers.slots import MASK, Range, slots_of
from .control import Control, ReplyError
from .ranges import MIN_RANGE_KEYS, RANGE_KEYS, RANGES_A_LANE

#: A slot with more than so many ranges' keys is cut.
HOT = 2
#: The probe reads from so many slots, by so many keys each.
STARTS, COUNT = 32, 20

Cut = tuple[int, int, int]  # start, end, and the keys that lie between


def why_not_by_slot(control: Control, slots: Sequence[Range]) -> str:
    """'' when the selected database's cursors go by slot, else the reason in a few words. Reads some small SCANs."""
    numbers = [slot for first, last in slots for slot in range(first, last + 1)]
    asked = numbers[:: max(1, len(numbers) // STARTS)]
    seen = 0
    for slot, reply in zip(asked, control.call_all([("SCAN", slot, "COUNT", COUNT) for slot in asked])):
        if isinstance(reply, ReplyError):
            return f"SCAN {slot} is refused: {reply}"
        if not reply[0].isdigit():
            return "cursors are no numbers"
        cursor, keys = int(reply[0]), reply[1]
        last = cursor & MASK if cursor else MASK
        if not all(slot <= found <= last for found in slots_of(keys)):
            return f"SCAN {slot} brings keys of other slots"
        seen += len(keys)
    return "" if seen >= COUNT else "too few keys to tell"


def cut(counts: Mapping[int, int], lanes: int, left_out: Collection[int] = ()) -> list[Cut]:
    """The ranges of a node: `counts` are the keys of each of its slots, for so many lanes over all workers.

    No range reaches over slots that are `left_out`; there is none at all where all are.
    """
    total = sum(counts.values())
    room = max(MIN_RANGE_KEYS, min(RANGE_KEYS, total // max(1, lanes * RANGES_A_LANE)))
    cuts: list[Cut] = []
    start, keys, before = 0, 0, -1
    for slot in sorted({*counts, *left_out}):
        if slot in left_out:
            if keys:
                cuts.append((start, position_of_slot(before + 1), keys))
                keys = 0
            continue
        count = counts[slot]
        hot = count > HOT * room
        if before >= 0 and keys and (hot or keys + count > room):
            cuts.append((start, position_of_slot(before + 1), keys))
            keys = 0
        if not keys:
            start = position_of_slot(slot)
        keys += count
        before = slot
        if hot:
            cuts += _cut_slot(slot, count, room)
            keys = 0
    if keys or (counts and not cuts):
        cuts.append((start, position_of_slot(before + 1), keys))
    return cuts


def _cut_slot(slot: int, keys: int, room: int) -> list[Cut]:
    """One slot in equal parts of its table: a power of two, so that borders fall between buckets."""
    parts = 1 << (-(-keys // room) - 1).bit_length()
    begin, size = position_of_slot(slot), 1 << TABLE_BITS
    borders = [begin + size * part // parts for part in range(parts + 1)]
    return [(start, end, keys // parts) for start, end in zip(borders, borders[1:])]


def density(start: int, end: int, keys: int) -> int:
    """How many keys the whole ring would hold, if it held as many everywhere as there are between two positions."""
    return keys * RING // max(1, end - start)
