"""Compares two databases key by key: of servers, or of clusters. It imports nothing of the product and shares no code.

HOW IT WORKS. Both databases are listed by SCAN 0..0; of a cluster all masters, and each key must be on one master, the
one that owns its slot. For every key on both sides: TYPE, the absolute expiry, and
DEBUG DIGEST-VALUE, which depends on the value alone, not on its encoding, nor on the order of sets and hashes. Four
things the digest does not do, and what is done instead:
 * it does not see a stream's groups, ids and counts: XINFO STREAM FULL is compared as well;
 * on Valkey it does not see the expiries of hash fields: HPEXPIRETIME of all fields is compared;
 * it reads a sorted set's scores as text. Redis 8.2 and Valkey 9.1 write shorter text than older versions (0.1, not
   0.10000000000000001), and a small set drops the sign of -0 from 7.0 on, a large one does not. So where the digests of
   two sorted sets differ, their members and scores decide, as numbers;
 * it has no expiry of the key.

LIMITATIONS. Both databases must be at rest, but for keys that expire, and no slot open. Redis 6.2 tells an expiry only
relative to its clock: there it is known to lie in an interval about a millisecond wide, and a difference inside of that
is not seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import Any

from .facts import Expiry, Facts, Stream
from .keyspace import Database, Keyspace

#: Keys looked at in one round trip.
BATCH = 500

#: A key that was on one side only, and has no longer to live, is waited for.
SOON_S = 0.5

#: Fields of XINFO STREAM FULL that are no part of the data: how the radix tree is laid out; when a consumer last tried
#: or got something (RESTORE sets both to now on some versions, and 6.2 does not know the second); and `lag`, which is
#: computed from other fields that are compared, not by the same formula in all versions.
IGNORED = {b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time", b"lag"}


def assert_equal(source: Database, target: Database, **options: Any) -> None:
    """Fail with the first differences, a line each. Options as for `differences`."""
    found = differences(source, target, **options)
    assert not found, f"{source.kind} and {target.kind} differ:\n  " + "\n  ".join(found)


def differences(
    source: Database,
    target: Database,
    db: int = 0,
    target_db: int | None = None,
    limit: int = 20,
    ttl_tolerance_ms: int = 0,
) -> list[str]:
    """Up to `limit` lines, each one difference between database `db` and the target's `target_db` (default: the same).

    Expiries may be `ttl_tolerance_ms` apart. An empty list: the two are equal. Raises Refused where a server
    refuses a command that the comparison needs.
    """
    with ExitStack() as stack:
        left = Keyspace(stack, source, db)
        right = Keyspace(stack, target, db if target_db is None else target_db)
        sides = [
            left,
            right,
            left.again(stack, source, db),
            right.again(stack, target, db if target_db is None else target_db),
        ]
        return list(islice(_differences(sides, ttl_tolerance_ms), limit))


def lost(source_keys: Iterable[bytes], target: Database, db: int = 0) -> list[bytes]:
    """Those of `source_keys` that the target does not have."""
    keys = list(source_keys)
    with target.connect(db) as connection:
        found = connection.pipeline(("EXISTS", key) for key in keys)
    return [key for key, exists in zip(keys, found, strict=True) if exists != 1]


def all_keys(server: Database, db: int = 0) -> set[bytes]:
    """Every key of the database."""
    with ExitStack() as stack:
        return Keyspace(stack, server, db).keys()


def _differences(sides: list[Keyspace], tolerance_ms: int) -> Iterator[str]:
    """`sides` are left, right, and both once more: a thread of its own reads each of the first two, so that
    neither server waits for the other; the others serve the second looks meanwhile: a key may end between two."""
    left, right, *again = sides
    left_thread, right_thread = threads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    try:
        listing = left_thread.submit(left.keys), right_thread.submit(right.keys)
        names, others = (keys.result() for keys in listing)
        yield from (f"{line} ({side})" for side, one in (("source", left), ("target", right)) for line in one.misplaced)
        for where, keys in (("missing on the target", names - others), ("only on the target", others - names)):
            yield from (f"{_shown(key)}: {where}" for key in sorted(keys) if not _has_ended(key, again))
        same = sorted(names & others)
        batches = [same[start : start + BATCH] for start in range(0, len(same), BATCH)]
        told = zip(batches, left_thread.map(left.facts, batches), right_thread.map(right.facts, batches), strict=True)
        for keys, some, other in told:
            unequal = [(key, one, two) for key, one, two in zip(keys, some, other, strict=True) if one != two]
            _settle_scores(unequal, again)
            for key, one, two in unequal:
                ends = b"none" in (one.type, two.type) or (one.expiry is None) != (two.expiry is None)
                if ends and _has_ended(key, again):
                    continue
                yield from (f"{_shown(key)}: {found}" for found in _key_differences(one, two, tolerance_ms))
    finally:
        for thread in threads:
            thread.shutdown(cancel_futures=True)


def _has_ended(key: bytes, sides: list[Keyspace]) -> bool:
    """Whether the time of a key that one side has lost has come meanwhile, wherever it was listed."""
    sides = [side for side in sides if side.lists(key)]
    found = [side.facts([key])[0] for side in sides]
    soon_ms = (time.time() + SOON_S) * 1000
    if any(one.expiry is not None and one.expiry[0] < soon_ms for one in found):
        time.sleep(SOON_S)
        found = [side.facts([key])[0] for side in sides]
    return all(one.type == b"none" for one in found)


def _settle_scores(unequal: list[tuple[bytes, Facts, Facts]], sides: list[Keyspace]) -> None:
    """Give sorted sets with other digests but the same scores the same digest."""
    doubtful = [item for item in unequal if item[1].type == item[2].type == b"zset"]
    keys = [key for key, _, _ in doubtful]
    for (_, one, two), some, other in zip(doubtful, sides[0].scores(keys), sides[1].scores(keys), strict=True):
        if some == other:
            two.digest = one.digest


def _key_differences(one: Facts, other: Facts, tolerance_ms: int) -> Iterator[str]:
    if one.type != other.type:
        yield f"type {one.type.decode()} became {other.type.decode()}"
        return
    yield from _expiry_differences(one.expiry, other.expiry, tolerance_ms)
    if one.digest != other.digest:
        yield f"another value ({one.type.decode()})"
        return
    for name in sorted(one.field_expiries.keys() | other.field_expiries.keys()):
        times = one.field_expiries.get(name), other.field_expiries.get(name)
        if times[0] != times[1]:
            yield f"field {_shown(name)} expires at {times[1]} instead of {times[0]} ms"
    yield from _state_differences(one.stream, other.stream)


def _expiry_differences(one: Expiry, other: Expiry, tolerance_ms: int) -> Iterator[str]:
    if one is None and other is not None:
        yield "expires on the target only"
    elif one is not None and other is None:
        yield "lost its expiry"
    elif one is not None and other is not None and max(one[0] - other[1], other[0] - one[1]) > tolerance_ms:
        yield f"expires at {other[0]} instead of {one[0]} ms"


def _state_differences(one: Stream, other: Stream) -> Iterator[str]:
    """Of two streams, groups or consumers: by the fields that both versions tell. Redis 6.2 has no entries-added,
    entries-read, max-deleted-entry-id and recorded-first-entry-id."""
    for field in sorted((one.keys() & other.keys()) - IGNORED):
        if field in (b"groups", b"consumers"):
            yield from _member_differences(field.decode(), one[field], other[field])
        elif one[field] != other[field]:
            yield f"{field.decode()} {_shown(one[field])} became {_shown(other[field])}"


def _member_differences(what: str, one: dict[bytes, Stream], other: dict[bytes, Stream]) -> Iterator[str]:
    for name in sorted(one.keys() | other.keys()):
        if name not in other:
            yield f"{what} {_shown(name)}: missing on the target"
        elif name not in one:
            yield f"{what} {_shown(name)}: only on the target"
        else:
            yield from (f"{what} {_shown(name)}: {found}" for found in _state_differences(one[name], other[name]))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:90]}…"
