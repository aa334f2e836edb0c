"""Streams: their state, entries, groups, and of each group its consumers and what is pending.

What only one version tells (6.2 has no count of all entries ever added) is not compared, nor what a restored stream
forgets: when a consumer was seen last. Delivery times are instants, told as ages: with them the server's TIME is read.
A server whose clock is behind tells the age 0 of what is still to come: then it cannot tell when.
"""

from __future__ import annotations

from typing import Any

from ..expiry import time_ms
from .ask import FIRST_CHUNK, SOURCE, TARGET, Changing, Steps, Times, ask, named, next_chunk, pair, unequal_at

#: Of a stream, and of a group: what clients can see and what travels with DUMP.
STATE = (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added")
GROUP = (b"pending", b"last-delivered-id", b"entries-read")
#: Ages are told in ms at a moment that is known to some ms.
TIME_SLACK_MS = 50

Maps = dict[bytes, dict[bytes, Any]]
Pending = list[tuple[bytes, bytes, int, int]]  # id, consumer, delivered at (ms), deliveries


def differs(key: bytes, times: Times) -> Steps[str]:
    """What differs first, or ''."""
    ours, theirs = yield from pair([(b"XINFO", b"STREAM", key)], lambda replies: _map(replies[0], STATE))
    if name := _field_that_differs(ours, theirs):
        return name
    if found := (yield from _entries_differ(key)):
        return found
    groups, others = yield from pair([(b"XINFO", b"GROUPS", key)], lambda replies: _by_name(replies[0], GROUP))
    if found := _one_that_differs("group", groups, others):
        return found
    for group in sorted(groups):
        words = (b"XINFO", b"CONSUMERS", key, group)
        consumers, their_consumers = yield from pair([words], lambda replies: _by_name(replies[0], (b"pending",)))
        if found := _one_that_differs(f"{named('group', group)} consumer", consumers, their_consumers):
            return found
        if groups[group][b"pending"] and (found := (yield from _pending_differ(key, group, times))):
            return f"{named('group', group)} {found}"
    return ""


def _entries_differ(key: bytes) -> Steps[str]:
    start, count = b"-", FIRST_CHUNK
    while True:
        words = (b"XRANGE", key, start, b"+", b"COUNT", b"%d" % count)
        ours, theirs = yield from pair([words], lambda replies: replies[0])
        if ours != theirs:
            index = unequal_at(ours, theirs)
            return f"id {(ours if index < len(ours) else theirs)[index][0].decode()}"
        if len(ours) < count:
            return ""
        start = b"(" + ours[-1][0]
        count = next_chunk(count, sum([len(part) for _, parts in ours for part in parts or ()]))


def _pending_differ(key: bytes, group: bytes, times: Times) -> Steps[str]:
    """A pending entry that one side lacks, or that has another consumer, time or number of deliveries; or ''."""
    start = b"-"
    while True:
        ours, _ = yield from _pending(SOURCE, key, group, start)
        theirs, now_ms = yield from _pending(TARGET, key, group, start)
        if not _same_pending(ours, theirs, now_ms, times):
            again, now_again_ms = yield from _pending(SOURCE, key, group, start)
            if not _same_pending(ours, again, now_again_ms, Times()):
                raise Changing
            same = [_same_pending([one], [other], now_ms, times) for one, other in zip(ours, theirs)]
            index = same.index(False) if False in same else len(same)
            return f"pending {(ours if index < len(ours) else theirs)[index][0].decode()}"
        if len(ours) < FIRST_CHUNK:
            return ""
        start = b"(" + ours[-1][0]


def _pending(side: str, key: bytes, group: bytes, start: bytes) -> Steps[tuple[Pending, int]]:
    """Some pending entries, and the side's TIME in ms."""
    words = (b"XPENDING", key, group, start, b"+", b"%d" % FIRST_CHUNK)
    now, told = yield from ask(side, (b"TIME",), words)
    now_ms = time_ms(now)
    return [(entry, consumer, now_ms - idle_ms, deliveries) for entry, consumer, idle_ms, deliveries in told], now_ms


def _same_pending(ours: Pending, theirs: Pending, latest_ms: int, times: Times) -> bool:
    """Whether they are the same, where `theirs` come from a side that tells no later instant than `latest_ms`."""
    around = Times(0, max(times.tolerance_ms, TIME_SLACK_MS))
    return len(ours) == len(theirs) and all(
        one[:2] == other[:2] and one[3] == other[3] and around.equal(max(min(one[2], latest_ms), 0), max(other[2], 0))
        for one, other in zip(ours, theirs)
    )


def _map(flat: list[Any], names: tuple[bytes, ...]) -> dict[bytes, Any]:
    told = dict(zip(flat[::2], flat[1::2]))
    return {name: told[name] for name in names if name in told}


def _by_name(reply: list[Any], names: tuple[bytes, ...]) -> Maps:
    return {one[one.index(b"name") + 1]: _map(one, names) for one in reply}


def _field_that_differs(ours: dict[bytes, Any], theirs: dict[bytes, Any]) -> str:
    """The first field that both tell and that differs, or ''."""
    return next((name.decode() for name in ours if name in theirs and ours[name] != theirs[name]), "")


def _one_that_differs(what: str, ours: Maps, theirs: Maps) -> str:
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return named(what, name)
        if found := _field_that_differs(ours[name], theirs[name]):
            return f"{named(what, name)} {found}"
    return ""
