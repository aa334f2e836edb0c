"""Moves many slots one after the other while something else goes on, as `redis-cli --cluster reshard` does."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from .clusternodes import Node
from .clusters import Cluster
from .wire import Connection


class Mover(threading.Thread):
    """Moves `slots` to `to` from whoever has them, with their keys, as fast as it can; `with` waits for the end.

    `pause_s` lies between two slots. Each slot is open for `open_s` with half of its keys moved.
    """

    def __init__(
        self, cluster: Cluster, slots: Sequence[int], to: Node, pause_s: float = 0.0, open_s: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        self.cluster, self.to, self.pause_s, self.open_s = cluster, to, pause_s, open_s
        owners = cluster.owners()
        self.slots = [slot for slot in slots if owners[slot] != to.address]
        self.moved = 0
        self._owners = owners
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Move them."""
        try:
            first, *rest = self.slots
            self.cluster.move_slot(first, self.to)  # waits until all know its new epoch, which the others share
            self.moved = 1
            connections = {node.address: node.connect() for node in self.cluster.masters}
            for slot in rest:
                self._move(slot, connections)
                self.moved += 1
                time.sleep(self.pause_s)
            for connection in connections.values():
                connection.close()
        except BaseException as error:
            self._failure = error

    def _move(self, slot: int, connections: dict[str, Connection]) -> None:
        source, to = connections[self._owners[slot]], connections[self.to.address]
        source_id = source.must("CLUSTER", "MYID")
        to.must("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.must("CLUSTER", "SETSLOT", slot, "MIGRATING", self.to.id)
        keys = source.must("CLUSTER", "GETKEYSINSLOT", slot, 10_000)
        random.shuffle(keys)
        self._migrate(source, keys[: len(keys) // 2])
        time.sleep(self.open_s)
        while keys := source.must("CLUSTER", "GETKEYSINSLOT", slot, 10_000):
            self._migrate(source, keys)
        others = [connection for connection in connections.values() if connection not in (source, to)]
        for connection in (to, source, *others):
            connection.must("CLUSTER", "SETSLOT", slot, "NODE", self.to.id)

    def _migrate(self, source: Connection, keys: list[Any]) -> None:
        if keys:
            source.must("MIGRATE", self.to.host, self.to.port, "", 0, 20_000, "KEYS", *keys)

    def __enter__(self) -> Mover:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join()
        if self._failure:
            raise self._failure
