"""Moves slots between nodes of a cluster: key by key, as people do, or at once, as Valkey 9 can."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .clusternodes import Node, nodes_seen, ranges
from .wire import Command

if TYPE_CHECKING:
    from .clusters import Cluster

#: Keys in one MIGRATE, and the time that it may take.
KEYS, MIGRATE_MS = 100, 20_000

#: So long all nodes may take to know of a move, seconds.
KNOWN_S = 30.0


class NotMoved(AssertionError):
    """A slot could not be moved."""


def move_slot(cluster: Cluster, slot: int, to: Node, *, leave_open: bool = False, share: float = 1.0) -> None:
    """See Cluster.move_slot. The new owner is told first: its claim carries a new epoch. Only when all nodes know
    that epoch may the next slot move: two claims of one epoch leave masters that disagree for ever."""
    source = cluster.owner(slot)
    if source is to:
        return
    _must(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    _must(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
    _migrate_keys(cluster, source, to, slot, share)
    if leave_open:
        return
    others = [master for master in cluster.masters if master not in (source, to)]
    for node in (to, source, *others):
        _must(node, "CLUSTER", "SETSLOT", slot, "NODE", to.id)
    _wait_until_known(cluster, {slot}, to)


def give_up_move(cluster: Cluster, slot: int, taker: Node) -> None:
    """See Cluster.give_up_move. As long as the owner gives the slot away, it takes no key back."""
    owner = cluster.owner(slot)
    _must(owner, "CLUSTER", "SETSLOT", slot, "STABLE")
    _migrate_keys(cluster, taker, owner, slot, 1)
    _must(taker, "CLUSTER", "SETSLOT", slot, "STABLE")


def _migrate_keys(cluster: Cluster, source: Node, to: Node, slot: int, share: float) -> None:
    left = round(share * _must(source, "CLUSTER", "COUNTKEYSINSLOT", slot)) if share < 1 else 1 << 62
    login = ["AUTH", cluster.password] if cluster.password else []
    while left and (keys := _must(source, "CLUSTER", "GETKEYSINSLOT", slot, min(KEYS, left))):
        _must(source, "MIGRATE", to.host, to.port, "", 0, MIGRATE_MS, *login, "KEYS", *keys)
        left -= len(keys)


def migrate_atomically(cluster: Cluster, slots: set[int], to: Node) -> None:
    """See Cluster.migrate_atomically."""
    owners = cluster.owners()
    for source in cluster.masters:
        own = {slot for slot in slots if owners[slot] == source.address}
        if own and source is not to:
            jobs = [word for first, last in ranges(own) for word in ("SLOTSRANGE", first, last, "NODE", to.id)]
            _must(source, "CLUSTER", "MIGRATESLOTS", *jobs)
            _wait_until_migrated(source)
    _wait_until_known(cluster, slots, to)


def _wait_until_migrated(source: Node) -> None:
    deadline = time.monotonic() + KNOWN_S
    while True:
        jobs = [dict(zip(job[::2], job[1::2], strict=True)) for job in _must(source, "CLUSTER", "GETSLOTMIGRATIONS")]
        states = {job[b"state"] for job in jobs}
        if b"failed" in states or b"cancelled" in states:
            raise NotMoved(f"{source}: {jobs}")
        if states <= {b"success"}:
            return
        if time.monotonic() > deadline:
            raise NotMoved(f"{source}: {states} after {KNOWN_S:g} s")
        time.sleep(0.01)


def _wait_until_known(cluster: Cluster, slots: set[int], to: Node) -> None:
    """All running nodes see the slots at `to`, and its epoch as it is."""
    deadline = time.monotonic() + KNOWN_S
    while len(epochs := {_epoch_with(node, slots, to) for node in cluster.running}) != 1 or None in epochs:
        if time.monotonic() > deadline:
            raise NotMoved(f"not all nodes know after {KNOWN_S:g} s that {to} has the slots")
        time.sleep(0.005)


def _epoch_with(node: Node, slots: set[int], to: Node) -> int | None:
    """The epoch of `to` as `node` knows it; None: it does not see the slots there."""
    [seen] = [seen for seen in nodes_seen(node) if seen.id == to.id]
    return seen.epoch if slots <= seen.slots else None


def _must(node: Node, *command: Any) -> Any:
    words: Command = command
    with node.connect(timeout_s=60) as connection:
        return connection.must(*words)
