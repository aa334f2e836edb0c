"""The naive peer: what one writes first with redis-py, a SCAN, then a pipeline of reads, then a pipeline of writes.

`pipeline.py SOURCE_PORT TARGET_PORT BATCH`, both servers on 127.0.0.1.
"""

from __future__ import annotations

import sys

import redis


def copy(source: redis.Redis, target: redis.Redis, batch: int) -> None:
    """Copy database 0, about `batch` keys a round trip. A key that expires on the way is left out."""
    cursor = 0
    while True:
        cursor, keys = source.scan(cursor, count=batch)
        reads = source.pipeline(transaction=False)
        for key in keys:
            reads.dump(key)
            reads.pttl(key)
        replies = reads.execute()
        writes = target.pipeline(transaction=False)
        for key, payload, ttl_ms in zip(keys, replies[::2], replies[1::2], strict=True):
            if payload is not None and ttl_ms != -2:
                writes.restore(key, max(ttl_ms, 0), payload, replace=True)
        writes.execute()
        if cursor == 0:
            return


if __name__ == "__main__":
    source_port, target_port, keys_a_round = map(int, sys.argv[1:])
    copy(redis.Redis(port=source_port), redis.Redis(port=target_port), keys_a_round)
