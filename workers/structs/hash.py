"""Hashes: in no order, with the expiries of fields (Redis 7.4 and later, Valkey 9). Large ones are read in pieces.

A field that only one side has is no difference where it has expired at the other, as far as can be told: where what is
left of its life is within the tolerance of expiries at the target, or a moment at the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..expiry import time_ms
from ..policy import is_denied
from ..read import counts_expiring_fields
from .ask import SOURCE, TARGET, WHOLE, Changing, Steps, Times, Unreadable, ask, ask_all, first, named, pair

#: Fields that one step of a scan asks for.
SCAN_COUNT = b"500"


def _fields(replies: list[Any]) -> dict[bytes, bytes]:
    return dict(zip(replies[0][::2], replies[0][1::2]))


def differs(key: bytes, times: Times) -> Steps[str]:
    """A field that differs in value or expiry, or that only one side has, or ''."""
    sizes = yield from pair([(b"HLEN", key)], first)
    if max(sizes) > WHOLE:
        return (yield from _large_differs(key, times, *sizes))
    ours, theirs = yield from pair([(b"HGETALL", key)], _fields)
    both = ours.keys() & theirs.keys()
    unequal = [name for name in both if ours[name] != theirs[name]]
    unequal += yield from _lasting(SOURCE, key, times, list(ours.keys() - both))
    unequal += yield from _lasting(TARGET, key, times, list(theirs.keys() - both))
    return named("field", min(unequal)) if unequal else (yield from _expiries_differ(key, times, list(both)))


def _large_differs(key: bytes, times: Times, size: int, their_size: int) -> Steps[str]:
    cursor, seen = b"0", 0
    while True:
        ((cursor, flat),) = yield from ask(SOURCE, (b"HSCAN", key, cursor, b"COUNT", SCAN_COUNT))
        names, values = flat[::2], flat[1::2]
        seen += len(names)
        if names:
            (held,) = yield from ask(TARGET, (b"HMGET", key, *names))
            found = yield from _some_differ(key, times, dict(zip(names, values)), dict(zip(names, held)))
            if found:
                return found
        if cursor == b"0":
            break
    # HLEN counts fields that have expired, until the server collects them: then equal sizes prove nothing.
    return (yield from _extra_field(key, times)) if not size == their_size == seen else ""


def _some_differ(key: bytes, times: Times, ours: dict[bytes, bytes], held: dict[bytes, bytes | None]) -> Steps[str]:
    """A field of some of the source's that differs, or ''; `held` are the target's, None where it has none."""
    both = [name for name, value in held.items() if value is not None]
    unequal = [name for name in both if ours[name] != held[name]]
    unequal += yield from _lasting(SOURCE, key, times, [name for name, value in held.items() if value is None])
    if not unequal:
        return (yield from _expiries_differ(key, times, both))
    ((again,),) = yield from ask(SOURCE, (b"HMGET", key, unequal[0]))
    if again != ours[unequal[0]]:
        raise Changing
    return named("field", unequal[0])


def _extra_field(key: bytes, times: Times) -> Steps[str]:
    """A field of the target that the source does not have."""
    cursor = b"0"
    while True:
        ((cursor, flat),) = yield from ask(TARGET, (b"HSCAN", key, cursor, b"COUNT", SCAN_COUNT))
        if names := flat[::2]:
            (held,) = yield from ask(SOURCE, (b"HMGET", key, *names))
            extra = [name for name, value in zip(names, held) if value is None]
            if extra := (yield from _lasting(TARGET, key, times, extra)):
                return named("field", extra[0])
        if cursor == b"0":
            return ""


def _lasting(side: str, key: bytes, times: Times, names: Sequence[bytes]) -> Steps[list[bytes]]:
    """Of the fields that only this side has, those that have not expired at the other."""
    if not names:
        return []
    words = (b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(names), *names)
    now, ends_ms = yield from ask_all(side, (b"TIME",), words)
    if not isinstance(now, list) or not isinstance(ends_ms, list):
        return list(names)  # nothing expires there, or nobody tells
    soon_ms = time_ms(now) + (times.moment_ms if side == SOURCE else times.tolerance_ms)
    return [name for name, end_ms in zip(names, ends_ms) if end_ms == -1 or end_ms > soon_ms]


def is_empty(side: str, key: bytes) -> Steps[bool]:
    """Whether every field has expired: to clients there is nothing, and the server has yet to collect the key.

    False where the side refuses to show the fields.
    """
    cursor = b"0"
    while True:
        (reply,) = yield from ask_all(side, (b"HSCAN", key, cursor, b"COUNT", SCAN_COUNT))
        if isinstance(reply, Exception):
            return False
        cursor, flat = reply
        if flat or cursor == b"0":
            return not flat


def _expiries_differ(key: bytes, times: Times, names: Sequence[bytes]) -> Steps[str]:
    """A field that expires at another instant, or ''. A side that does not know such expiries has none."""
    if not names:
        return ""
    words = (b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(names), *names)
    ours = yield from _expiries(SOURCE, words, len(names))
    theirs = yield from _expiries(TARGET, words, len(names))
    unequal = [name for name, one, other in zip(names, ours, theirs) if not times.equal(one, other)]
    if not unequal:
        return ""
    if (yield from _expiries(SOURCE, words, len(names))) != ours:
        raise Changing
    return named("expiry of field", unequal[0])


def _expiries(side: str, words: tuple[bytes, ...], count: int) -> Steps[list[int]]:
    """An instant each, -1: none. -2 is a field that is gone, so the key is changing. Raises Unreadable if refused.

    A server that does not know the command knows no such expiries, unless it counts some: then it was renamed there,
    or a proxy does not pass it on.
    """
    (reply,) = yield from ask_all(side, words)
    if not isinstance(reply, list):
        (info,) = yield from ask_all(side, (b"INFO", b"keyspace"))
        if is_denied(reply) or counts_expiring_fields(info):
            raise Unreadable(f"{side}: {reply}")
        return [-1] * count
    if -2 in reply:
        raise Changing
    return reply
