"""Sets: in no order. Small ones are read whole; of large ones, each side's members are looked up at the other."""

from __future__ import annotations

from typing import Any

from .ask import SOURCE, TARGET, WHOLE, Changing, Steps, Times, ask, first, named, pair

#: Members that one step of a scan asks for.
SCAN_COUNT = b"500"


def _members(replies: list[Any]) -> set[bytes]:
    return set(replies[0])


def differs(key: bytes, times: Times) -> Steps[str]:
    """A member that only one side has, or ''."""
    sizes = yield from pair([(b"SCARD", key)], first)
    if max(sizes) <= WHOLE:
        ours, theirs = yield from pair([(b"SMEMBERS", key)], _members)
        return named("member", min(ours ^ theirs)) if ours != theirs else ""
    found = yield from _missing(key, SOURCE, TARGET)
    if not found and sizes[0] != sizes[1]:
        found = yield from _missing(key, TARGET, SOURCE)
    return found


def _missing(key: bytes, side: str, other: str) -> Steps[str]:
    """A member of one side that the other does not have, or ''."""
    cursor = b"0"
    while True:
        ((cursor, members),) = yield from ask(side, (b"SSCAN", key, cursor, b"COUNT", SCAN_COUNT))
        if members:
            (held,) = yield from ask(other, (b"SMISMEMBER", key, *members))
            lacking = [member for member, here in zip(members, held) if not here]
            if lacking:
                (again,) = yield from ask(SOURCE, (b"SMISMEMBER", key, lacking[0]))
                if bool(again[0]) != (side == SOURCE):
                    raise Changing
                return named("member", lacking[0])
        if cursor == b"0":
            return ""
