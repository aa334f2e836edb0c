"""The target's nodes as one worker writes to them: a sink each, and the router that knows whose a key is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from .batch import Batch, Columns
from .conn import Connection, Request
from .expiry import moved
from .redirects import Redirect
from .replies import Way
from .slots import Owners, slots_of


@dataclass
class Sink:
    """One node of the target, as one worker writes to it."""

    node: int
    conn: Connection
    sent: int = 0  # commands
    later_ms: int = 0  # how far its clock is ahead of the first node's, which instants are told in

    def ask(self, request: Request, replies: int, then: Callable[[list], None], way: Way = Way.EACH) -> None:
        """Queue a request of `replies` commands; see Connection.ask."""
        self.sent += replies
        self.conn.ask(request, replies, then, way)

    def write(self, request: Request, replies: int, then: Callable[[list], None]) -> None:
        """Queue writes, or what is answered as simply: not by arrays."""
        self.ask(request, replies, then, Way.FLAT)


@dataclass
class Router:
    """The nodes of the target, and which of them a key belongs to."""

    sinks: list[Sink]
    owners: Owners | None = None  # None: there is one node, and slots do not matter

    def move(self, slot: int, node: int) -> None:
        """A slot belongs to another node from now on."""
        if self.owners is not None:
            self.owners.move(slot, node)

    def named(self, node: int, redirect: Redirect) -> Sink | None:
        """The sink that `node` sends us to; None where it is not known."""
        host = redirect.host or self.sinks[node].conn.node.announced.rpartition(":")[0]
        address = f"{host}:{redirect.port}"
        return next((sink for sink in self.sinks if sink.conn.node.announced == address), None)

    def split(self, batch: Batch) -> Iterable[tuple[Sink, Batch]]:
        """The batch in parts, with the sink that takes each."""
        if self.owners is None:
            return [(self.sinks[0], batch)] if batch else []
        if not batch.slotted:
            batch = batch.with_slots()
        node = _sole(self.owners, batch)
        if node is not None:
            parts = {node: batch}
        else:
            parts = _cut(self.owners, batch) if batch.shared else _pick(self.owners, batch)
        return [one for node, part in parts.items() for one in self.whole(node, part)]

    def whole(self, node: int, batch: Batch) -> list[tuple[Sink, Batch]]:
        """The batch with the sink of one node, which takes all of it."""
        return [(self.sinks[node], self._in_its_clock(self.sinks[node], batch))] if batch else []

    def _in_its_clock(self, sink: Sink, part: Batch) -> Batch:
        if sink.later_ms and part.expiring:
            instants = moved(part.expiring.instants, sink.later_ms)
            return replace(part, expiring=replace(part.expiring, instants=instants))
        return part

    def group(self, keys: list[bytes]) -> list[tuple[Sink, list[bytes]]]:
        """Keys (not encoded) in parts, with the sink that each part belongs to."""
        if self.owners is None:
            return [(self.sinks[0], keys)]
        parts: dict[int, list[bytes]] = {}
        for key, slot in zip(keys, slots_of(keys)):
            parts.setdefault(self.owners.by_slot[slot], []).append(key)
        return [(self.sinks[node], part) for node, part in parts.items()]


def _sole(owners: Owners, batch: Batch) -> int | None:
    """The node that owns all slots of the batch; None: there are several."""
    slots = [columns.slots for columns in (batch.lasting, batch.expiring) if columns]
    if batch.shared and slots:
        return owners.between(min(one[0] for one in slots), max(one[-1] for one in slots))
    return owners.only(*slots)


def _cut(owners: Owners, batch: Batch) -> dict[int, Batch]:
    """The parts of a batch in the order of its slots, which stay in that order."""
    parts: dict[int, Batch] = {}
    for node, begin, end in owners.pieces(batch.lasting.slots):
        _part(parts, node, batch).lasting.add(batch.lasting.cut(begin, end))
    for node, begin, end in owners.pieces(batch.expiring.slots):
        _part(parts, node, batch).expiring.add(batch.expiring.cut(begin, end))
    return parts


def _pick(owners: Owners, batch: Batch) -> dict[int, Batch]:
    """The parts of a batch whose slots are in any order."""
    parts: dict[int, Batch] = {}
    for node, places in owners.by_node(batch.lasting.slots):
        _part(parts, node, batch).lasting = batch.lasting.pick(places)
    for node, places in owners.by_node(batch.expiring.slots):
        _part(parts, node, batch).expiring = batch.expiring.pick(places)
    return parts


def _part(parts: dict[int, Batch], node: int, whole: Batch) -> Batch:
    """The node's part of a batch, empty at first."""
    return parts.setdefault(node, Batch(Columns(), Columns(), slotted=True, shared=whole.shared))
