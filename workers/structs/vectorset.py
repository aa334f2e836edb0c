"""Vector sets (Redis 8): elements in no order, each with its vector as it is kept, and its attributes.

The links between elements are an index, which the server makes as it likes, and no part of the data.
"""

from __future__ import annotations

from typing import Any

from .ask import FIRST_CHUNK, Steps, Times, first, named, pair, unequal_at

#: What VINFO tells of the vectors of all elements: how long they are, and from what length they are reduced.
LENGTHS = (b"vector-dim", b"projection-input-dim")


def _lengths(replies: list[Any]) -> dict[bytes, int]:
    flat = replies[0] or ()
    return {name: value for name, value in zip(flat[::2], flat[1::2]) if name in LENGTHS}


def _sorted(replies: list[Any]) -> list[bytes]:
    return sorted(replies[0] or ())


def differs(key: bytes, times: Times) -> Steps[str]:
    """How long vectors are, or an element that only one side has, or that differs, or ''."""
    sizes = yield from pair([(b"VCARD", key)], first)
    lengths, others = yield from pair([(b"VINFO", key)], _lengths)
    if unequal := [name for name in lengths if name in others and lengths[name] != others[name]]:
        return unequal[0].decode()
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
