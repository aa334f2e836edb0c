"""Lists: element by element, in order."""

from __future__ import annotations

from .ask import FIRST_CHUNK, Steps, Times, first, next_chunk, pair, unequal_at


def differs(key: bytes, times: Times) -> Steps[str]:
    """The first index at which two lists differ, or ''."""
    at, count = 0, FIRST_CHUNK
    while True:
        words = (b"LRANGE", key, b"%d" % at, b"%d" % (at + count - 1))
        ours, theirs = yield from pair([words], first)
        if ours != theirs:
            return f"index {at + unequal_at(ours, theirs)}"
        if len(ours) < count:
            return ""
        at += count
        count = next_chunk(count, sum(map(len, ours)))
