"""How a database is cut: many more ranges than workers, each small, all equal, borders at powers of two.

Ranges are pulled one by one, so a straggler costs little, progress is fine-grained and a lost worker loses little.
A power of two lets borders fall between buckets, so that hardly a key comes twice. Within a bucket, a border would tell
to whom a key counts by the size that the table has: while that changes, keys would be counted by nobody.

WHY THEIR ORDER MATTERS
    SCAN counts with the bits of the bucket's number reversed, so the buckets of one range lie as far apart in memory as
    can be: for 8 bytes of each, the server waits for a line of 64. The other buckets of that line belong to other
    ranges, at the same step. Lanes that read those side by side have it fetched once, and the same in the table of
    expiries. `in_turn` puts such ranges one after the other.
"""

from __future__ import annotations

from ..workers.cursor import cursor_at, tile

Cut = tuple[int, int, int]  # start, end, and the keys that lie between; 0: about as many as in any other

#: About so many keys a range, some ten windows, unless the database is large.
RANGE_KEYS = 8192
#: So many ranges are enough for the lanes of the usual number of workers. Larger databases have ranges of more keys:
#: the beginning and the end of a range cost about as much of our time as a thousand keys …
MANY_RANGES = 512
#: … but not more than so many.
MOST_RANGE_KEYS = 32_768
#: At least so many ranges a lane, so that all lanes end at about the same time.
RANGES_A_LANE = 2
#: A range with fewer keys than this costs more in borders than it brings.
MIN_RANGE_KEYS = 512
MAX_RANGES = 1 << 16


def ranges_for(keys: int, lanes: int) -> int:
    """How many ranges `keys` keys are cut into, for so many lanes over all workers: a power of two."""
    usual = max(min(keys / RANGE_KEYS, MANY_RANGES), keys / MOST_RANGE_KEYS)
    wanted = max(usual, min(lanes * RANGES_A_LANE, keys / MIN_RANGE_KEYS), 1)
    return min(MAX_RANGES, _power_of_two(int(wanted)))


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def cut(keys: int, lanes: int, ranges: int | None = None) -> list[tuple[int, int]]:
    """The ranges (start, end) of a database, as positions; `ranges`, up to the next power of two, are their number."""
    return tile(_power_of_two(ranges) if ranges else ranges_for(keys, lanes))


def in_turn(cuts: list[Cut]) -> list[Cut]:
    """Ranges of a ring in the order in which lanes get them: by the number of the bucket that each begins with."""
    return sorted(cuts, key=lambda cut: cursor_at(cut[0]))
