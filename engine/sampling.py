"""A part of the keys stands for all: which ones, and what that says of the others.

Keys are chosen by a checksum of their names, which has nothing to do with what is in them; so a key of the target is in
the sample if the source's is. The same names make the same sample each time.
"""

from __future__ import annotations

import math

from .text import plural

#: How sure the statement about all keys is.
CONFIDENCE = 0.95
#: Checksums are below this.
CHECKSUMS = 1 << 32
#: What a sample is of where a part of the keys was asked for.
CHOSEN = "the keys that were asked for"
#: A bound on a share is found to this part of it.
STEPS = 60
#: What is so small a part of a sum is left out.
NEGLIGIBLE = 1e-12


def sample_below(wanted: float, keys: int) -> int:
    """Names with a checksum below this are in the sample: of `wanted` keys (an int), or a share of them (a float)."""
    share = wanted if isinstance(wanted, float) else wanted / max(keys, 1)
    return min(CHECKSUMS, math.ceil(share * CHECKSUMS))


def statement(looked_at: int, more: int, different: int, keys: int | None, whole: bool, mended: bool = False) -> str:
    """What a sample says of all keys from which it was drawn, in words; `whole`: it has all of them.

    It was drawn from all names of both sides: `more` of its keys are only at the target, besides those of the source.
    `keys`: how many these are. None: filters or a list have chosen them, and nobody has counted them. `mended`: what
    differed in the sample was repaired since, which has mended none of the others.
    """
    part = f"a sample of {looked_at:,} of " + (CHOSEN if keys is None else plural(keys, "key"))
    part += f", {more:,} more at the target" if more else ""
    if not looked_at + more:
        return f"{part}: it says nothing"
    if whole or (keys is not None and looked_at >= keys and not more):
        return f"{part}: these are all"
    differ = "differed" if mended else "differs" if different == 1 else "differ"
    told = f"{plural(different, 'key')} {differ}" if different else "none differs"
    most = float(f"{100 * most_likely(looked_at + more, different):.2g}")  # 100, not 1e+02
    all_of_them = "those" if keys is None else "all keys"
    when, do = ("before the repair, ", "did") if mended else ("", "do")
    return f"{part}: {told}; {when}with {CONFIDENCE:.0%} confidence no more than {most:g} % of {all_of_them} {do}"


def most_likely(looked_at: int, different: int) -> float:
    """The largest share of all keys that may differ, with CONFIDENCE: above it, so few in the sample are too unlikely.

    The exact bound of Clopper and Pearson, one-sided; found by halving.
    """
    if different >= looked_at:
        return 1.0
    low, high = different / looked_at, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _at_most(different, looked_at, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(count: int, tries: int, share: float) -> float:
    """How likely at most `count` of so many tries hit, if each does with this share, which is above count / tries.

    So each number of hits is less likely than the next higher one, and all but some thousand do not matter.
    """
    if not 0 < share < 1:
        return 0.0
    likely = math.lgamma(tries + 1) - math.lgamma(count + 1) - math.lgamma(tries - count + 1)
    likely += count * math.log(share) + (tries - count) * math.log1p(-share)
    total, part, hits = 0.0, 1.0, count  # as multiples of how likely `count` itself is
    while part > total * NEGLIGIBLE:
        total += part
        part *= hits * (1 - share) / ((tries - hits + 1) * share)
        hits -= 1
    return math.exp(likely) * total
