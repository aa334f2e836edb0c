"""How a database is cut: many more ranges than workers, each small, all equal, borders at powers of two.

Ranges are pulled one by one, so a straggler costs little, progress is fine-grained and a lost worker loses little.
A power of two lets borders fall between buckets, so that hardly a key comes twice.
"""

from __future__ import annotations

from ..workers.cursor import tile

#: About so many keys a range: some ten windows.
RANGE_KEYS = 8192
#: At least so many ranges a lane, so that all lanes end at about the same time.
RANGES_A_LANE = 2
#: A range with fewer keys than this costs more in borders than it brings.
MIN_RANGE_KEYS = 512
MAX_RANGES = 1 << 16


def ranges_for(keys: int, lanes: int) -> int:
    """How many ranges `keys` keys are cut into, for so many lanes over all workers: a power of two."""
    wanted = max(keys / RANGE_KEYS, min(lanes * RANGES_A_LANE, keys / MIN_RANGE_KEYS), 1)
    return min(MAX_RANGES, 1 << (int(wanted) - 1).bit_length()) if wanted > 1 else 1


def cut(keys: int, lanes: int, ranges: int | None = None) -> list[tuple[int, int]]:
    """The ranges (start, end) of a database, as positions; `ranges` overrides their number."""
    return tile(ranges or ranges_for(keys, lanes))
