"""The naive comparison: what one writes first with redis-py, a SCAN of the source, then DUMP and PTTL of both sides.

`compare.py SOURCE_PORT TARGET_PORT BATCH`, both servers on 127.0.0.1. It looks in one direction only, and takes other
encodings of the same value for differences; the exit code is 1 where it finds any.
"""

from __future__ import annotations

import sys

import redis

#: Expiries so far apart count as equal.
TOLERANCE_MS = 100


def different(source: redis.Redis, target: redis.Redis, batch: int) -> int:
    """How many keys of database 0 are not the same at the target, about `batch` keys a round trip."""
    cursor = found = 0
    while True:
        cursor, keys = source.scan(cursor, count=batch)
        told = []
        for side in (source, target):
            reads = side.pipeline(transaction=False)
            for key in keys:
                reads.dump(key)
                reads.pttl(key)
            told.append(reads.execute())
        ours, theirs = told
        for value, other, ttl_ms, other_ms in zip(ours[::2], theirs[::2], ours[1::2], theirs[1::2], strict=True):
            found += value != other or abs(ttl_ms - other_ms) > TOLERANCE_MS
        if cursor == 0:
            return found


if __name__ == "__main__":
    source_port, target_port, keys_a_round = map(int, sys.argv[1:])
    sys.exit(different(redis.Redis(port=source_port), redis.Redis(port=target_port), keys_a_round) > 0)
