"""How the slots of a cluster's node are cut into ranges, where cursors go by slot, and whether they do.

A range holds neighbouring slots with about `ranges.RANGE_KEYS` keys together. A slot with far more keys is cut by the
position in its table, like a database of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ..workers.cursor import RING, TABLE_BITS, position_of_slot
from ..workers.slots import MASK, SLOTS, Range, ranges_of, slots_of
from .cluster import slots_in
from .control import Control, ReplyError
from .ranges import MIN_RANGE_KEYS, RANGE_KEYS, RANGES_A_LANE, Cut

#: A slot with more than so many ranges' keys is cut.
HOT = 2
#: The probe reads from so many slots, by so many keys each.
STARTS, COUNT = 32, 20


def why_not_by_slot(control: Control, slots: Sequence[Range]) -> str:
    """'' when the selected database's cursors go by slot, else the reason in a few words. Reads some small SCANs."""
    numbers = slots_in(slots)
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
    """The ranges of a node: `counts` are the keys of its slots, for so many lanes over all workers.

    Together they cover every slot but those `left_out`, also slots that hold no key or that another node owns: keys may
    be written there, and slots may move, before the ranges are read. Servers step over empty slots at no cost.
    """
    total = sum(counts.values())
    room = max(MIN_RANGE_KEYS, min(RANGE_KEYS, total // max(1, lanes * RANGES_A_LANE)))
    wanted = [slot for slot in range(SLOTS) if slot not in left_out]
    return [cut for run in ranges_of(wanted) for cut in _cut_run(counts, run, room)]


def _cut_run(counts: Mapping[int, int], run: Range, room: int) -> Iterator[Cut]:
    """Neighbouring slots: a range ends where the next slot would make it too large; a hot slot is cut by itself."""
    begin, keys = run[0], 0
    for slot in range(run[0], run[1] + 1):
        count = counts.get(slot, 0)
        hot = count > HOT * room
        if slot > begin and (hot or (keys and keys + count > room)):
            yield position_of_slot(begin), position_of_slot(slot), keys
            begin, keys = slot, 0
        keys += count
        if hot:
            yield from _cut_slot(slot, count, room)
            begin, keys = slot + 1, 0
    if begin <= run[1]:
        yield position_of_slot(begin), position_of_slot(run[1] + 1), keys


def _cut_slot(slot: int, keys: int, room: int) -> list[Cut]:
    """One slot in equal parts of its table: a power of two, so that borders fall between buckets."""
    parts = 1 << (-(-keys // room) - 1).bit_length()
    begin, size = position_of_slot(slot), 1 << TABLE_BITS
    borders = [begin + size * part // parts for part in range(parts + 1)]
    return [(start, end, keys // parts) for start, end in zip(borders, borders[1:])]


def density(start: int, end: int, keys: int) -> int:
    """How many keys the whole ring would hold, if it held as many everywhere as there are between two positions."""
    return keys * RING // max(1, end - start)
