"""Sorted sets: members in their order, with scores as numbers, as versions write the same number in different ways."""

from __future__ import annotations

from typing import Any

from .ask import FIRST_CHUNK, Steps, Times, named, next_chunk, pair, unequal_at

Scores = list[tuple[bytes, float]]


def _scores(replies: list[Any]) -> Scores:
    reply = replies[0]
    return list(zip(reply[::2], map(float, reply[1::2])))


def differs(key: bytes, times: Times) -> Steps[str]:
    """The first member that has another score or place, or ''."""
    at, count = 0, FIRST_CHUNK
    while True:
        words = (b"ZRANGE", key, b"%d" % at, b"%d" % (at + count - 1), b"WITHSCORES")
        ours, theirs = yield from pair([words], _scores)
        if ours != theirs:
            index = unequal_at(ours, theirs)
            shown = ours if index < len(ours) else theirs
            return f"{named('member', shown[index][0])}, rank {at + index}"
        if len(ours) < count:
            return ""
        at += count
        count = next_chunk(count, sum([len(member) for member, _ in ours]))
