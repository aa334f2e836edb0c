"""The naive peer for clusters: what one writes first with redis-py, for each master of the source a SCAN, then a
pipeline of reads, then a pipeline of writes, which RedisCluster divides among the nodes.

`cluster_pipeline.py SOURCE_PORT TARGET_PORT BATCH`, a node of each cluster on 127.0.0.1.
"""

from __future__ import annotations

import sys

import redis
from redis.cluster import ClusterNode


def copy(source: redis.RedisCluster, target: redis.RedisCluster, batch: int) -> None:
    """Copy all masters in turn, about `batch` keys a round trip. A key that expires on the way is left out."""
    for node in source.get_primaries():
        copy_node(source, node, target, batch)


def copy_node(source: redis.RedisCluster, node: ClusterNode, target: redis.RedisCluster, batch: int) -> None:
    """Copy what one master of the source has."""
    cursor = 0
    while True:
        cursors, keys = source.scan(cursor, count=batch, target_nodes=node)
        [cursor] = cursors.values()
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
    from_cluster = redis.RedisCluster(host="127.0.0.1", port=source_port)
    copy(from_cluster, redis.RedisCluster(host="127.0.0.1", port=target_port), keys_a_round)
