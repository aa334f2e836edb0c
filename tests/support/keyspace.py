"""All keys of a server's database, or of all masters of a cluster, as one. For compare.py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from .clusternodes import Node, nodes_seen, slot_of
from .clusters import Cluster
from .facts import Facts, Side
from .servers import Server

#: What can be compared.
Database = Server | Cluster


class Keyspace:
    """Reads facts of the keys of `database`, by one thread at a time. No slot of a cluster may be migrating.

    `misplaced` are lines about keys that are on two masters, or on one that does not own their slot, once `keys` was
    called.
    """

    def __init__(self, stack: ExitStack, database: Database, db: int) -> None:
        nodes = database.masters if isinstance(database, Cluster) else [database]
        self._sides = [Side(stack.enter_context(node.connect(db))) for node in nodes]
        self._nodes = nodes
        self._home: dict[bytes, int] = {}  # key → which side
        self.misplaced: list[str] = []

    def again(self, stack: ExitStack, database: Database, db: int) -> Keyspace:
        """The same keys over other connections, for another thread. Their homes become known as here."""
        other = Keyspace(stack, database, db)
        other._home = self._home
        return other

    def keys(self) -> set[bytes]:
        """Every key."""
        self._home.clear()
        for at, (side, node) in enumerate(zip(self._sides, self._nodes, strict=True)):
            own = _slots(node)
            for key in side.names():
                if own is not None and slot_of(key) not in own:
                    self.misplaced.append(f"{key!r}: on {node.address}, which does not have its slot {slot_of(key)}")
                if key in self._home:
                    both = self._nodes[self._home[key]].address, node.address
                    self.misplaced.append(f"{key!r}: on two masters, {both[0]} and {both[1]}")
                self._home[key] = at
        return set(self._home)

    def lists(self, key: bytes) -> bool:
        """Whether it is one of `keys`."""
        return key in self._home

    def facts(self, keys: list[bytes]) -> list[Facts]:
        """The facts of the keys, in order; a key that is gone has the type b'none'."""
        return self._gather(keys, lambda side, some: side.facts(some))

    def scores(self, keys: list[bytes]) -> list[dict[bytes, float]]:
        """The members of sorted sets with their scores."""
        return self._gather(keys, lambda side, some: side.scores(some))

    def _gather(self, keys: list[bytes], ask: Callable[[Side, list[bytes]], list[Any]]) -> list[Any]:
        told: dict[bytes, Any] = {}
        for at, side in enumerate(self._sides):
            if some := [key for key in keys if self._home[key] == at]:
                told.update(zip(some, ask(side, some), strict=True))
        return [told[key] for key in keys]


def _slots(node: Server) -> frozenset[int] | None:
    """The slots that a node says are its own; None: no cluster."""
    if not isinstance(node, Node):
        return None
    return next(seen.slots for seen in nodes_seen(node) if "myself" in seen.flags)
