"""Vector sets (Redis 8): elements in no order, each with its vector as it is kept, and its attributes.

The links between elements are an index, which the server makes as it likes, and no part of the data.
"""

from __future__ import annotations

from typing import Any

from .ask import FIRST_CHUNK, Steps, Times, first, named, pair, unequal_at


def _sorted(replies: list[Any]) -> list[bytes]:
    return sorted(replies[0] or ())


def differs(key: bytes, times: Times) -> Steps[str]:
    """An element that only one side has, or that differs, or ''."""
    sizes = yield from pair([(b"VCARD", key)], first)
    dimensions = yield from pair([(b"VDIM", key)], first)
    if dimensions[0] != dimensions[1]:
        return "dimension"
    ours, theirs = yield from pair([(b"VRANDMEMBER", key, b"%d" % max(*sizes, 1))], _sorted)
    if ours != theirs:
        return named("element", min(set(ours) ^ set(theirs)))
    for at in range(0, len(ours), FIRST_CHUNK):
        names = ours[at : at + FIRST_CHUNK]
        commands = [(b"VEMB", key, name, b"RAW") for name in names] + [(b"VGETATTR", key, name) for name in names]
        told, other = yield from pair(commands, list)
        if told != other:
            return named("element", names[unequal_at(told, other) % len(names)])
    return ""
