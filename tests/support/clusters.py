"""Real clusters for tests: some masters, each with its replicas, on loopback, up in about two seconds.

    with Cluster("7.0", masters=3, replicas=1) as cluster:
        cluster.call("SET", "key", "value")
        cluster.move_slot(slot_of("key"), cluster.masters[0])

HOW IT WORKS. The nodes are started, get an epoch each and their slots, meet, and replicas are told whom to follow.
A cluster is up once every node says the same of every other one. A master takes no write in its first two seconds,
whatever is done: to have several clusters at once, start them with `wait=False`, and then `wait_until_ready` for each.

A server dies with the thread that started it: start a cluster from a thread that outlives its use.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from . import reshard
from .clusternodes import SLOTS, Node, Seen, nodes_seen, slot_of
from .clusterwire import ClusterConnection
from .wire import Arg

#: So long a cluster may take to be up, or to agree again, seconds. It takes two; this is for a machine under load.
READY_S = 40.0

#: A node that says nothing for so long counts as failed: a failover takes this and about one second more.
NODE_TIMEOUT_MS = 2_000


class NotReady(AssertionError):
    """The nodes of a cluster did not come to agree in time; the text says what is missing."""


class Cluster:
    """A running cluster of one kind; `with` ends it. `nodes`: the masters in the order of their slots, then replicas.

    `extra`, `password`, `acl`, `maxmemory` and `tls` are of every node, as for Server. With `tls` the nodes use it
    among themselves too, and tell a client ports of the kind that it came by. `slots`: each master's share as ranges
    (first, last) instead of equal parts: what nobody gets is uncovered. `wait` False: see the module.
    """

    def __init__(
        self,
        kind: str,
        masters: int = 3,
        replicas: int = 0,
        *extra: str,
        password: str = "",
        acl: Sequence[str] = (),
        maxmemory: str = "",
        tls: Sequence[str] = (),
        node_timeout_ms: int = NODE_TIMEOUT_MS,
        slots: Sequence[Sequence[tuple[int, int]]] = (),
        wait: bool = True,
    ) -> None:
        self.kind, self.password = kind, password
        self.nodes: list[Node] = []
        self.shape = (kind, masters, replicas)
        self._shares = list(slots) or _equal_shares(masters)
        self._lost: dict[str, frozenset[int]] = {}  # the slots of killed masters, by id
        self._kept: ClusterConnection | None = None
        self._calls = threading.Lock()
        words = [*_settings(password, node_timeout_ms), *extra]
        words += ["--tls-cluster", "yes", "--tls-replication", "yes"] if tls else []
        try:
            for _ in range(masters * (1 + replicas)):
                self.nodes.append(Node(kind, *words, password=password, acl=acl, maxmemory=maxmemory, tls=tls))
            self._form(masters)
            if wait:
                self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _form(self, masters: int) -> None:
        for epoch, node in enumerate(self.nodes, 1):
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", epoch)
        for node, share in zip(self.nodes[:masters], self._shares, strict=True):
            slots = [slot for first, last in share for slot in range(first, last + 1)]
            if slots:
                node.client.execute_command("CLUSTER ADDSLOTS", *slots)
        for at, node in enumerate(self.nodes):
            for other in self.nodes[:at]:
                node.client.execute_command("CLUSTER MEET", other.host, other.tls_port or other.port)
        for at, node in enumerate(self.nodes[masters:]):
            master = self.nodes[at % masters]
            self._until(lambda: _knows(node, master), "no replica knows its master")
            node.client.execute_command("CLUSTER REPLICATE", master.id)

    # -- who is who ---------------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[Node]:
        """The nodes whose process is there."""
        return [node for node in self.nodes if node.running]

    @property
    def masters(self) -> list[Node]:
        """The running nodes that are masters, as the first running node sees it, in the order of `nodes`."""
        masters = {seen.id for seen in self.view() if not seen.is_replica and "fail" not in seen.flags}
        return [node for node in self.running if node.id in masters]

    def replicas_of(self, master: Node) -> list[Node]:
        """The running replicas of a master."""
        followers = {seen.id for seen in self.view() if seen.master == master.id}
        return [node for node in self.running if node.id in followers]

    def view(self, node: Node | None = None) -> list[Seen]:
        """What `node`, or the first running one, says of all."""
        return nodes_seen(node or self.running[0])

    def owner(self, what: int | bytes | str) -> Node:
        """The node that owns a slot (int) or the slot of a key."""
        slot = what if isinstance(what, int) else slot_of(what)
        return self.node_at(self.owners()[slot])

    def owners(self) -> dict[int, str]:
        """The address of each slot's owner; uncovered slots are missing."""
        known = {node.id: node.address for node in self.nodes}
        return {slot: known[seen.id] for seen in self.view() for slot in seen.slots}

    def node_at(self, address: str) -> Node:
        """The node with this host:port, or the one that tells clients so."""
        for node in self.nodes:
            if node.address == address:
                return node
        ids = [seen.id for seen in self.view() if address in seen.told]
        for node in self.nodes:
            if node.id in ids:
                return node
        raise ConnectionError(f"no node at {address!r}")

    @property
    def uri(self) -> str:
        """redis://host:port of the first node that runs, without a password."""
        return self.running[0].uri

    # -- commands -----------------------------------------------------------------------------------------------------

    def connect(self, db: int = 0) -> ClusterConnection:
        """A connection of its own to all nodes, for one thread."""
        return ClusterConnection(self, db)

    def call(self, *command: Arg, key: Arg | None = None) -> Any:
        """The reply of the node that owns the key of the command, or `key`; error replies are values.

        Threads take turns.
        """
        with self._calls:
            if self._kept is None:
                self._kept = self.connect()
            return self._kept.call(*command, key=key)

    def call_all(self, *command: Arg) -> list[Any]:
        """The replies of all running nodes, in order."""
        return [node.call(*command) for node in self.running]

    def dbsize(self) -> int:
        """The keys of all masters."""
        return sum(master.call("DBSIZE") for master in self.masters)

    def flush(self) -> None:
        """Delete all keys of all masters."""
        for master in self.masters:
            assert master.call("FLUSHALL") == b"OK"

    # -- change -------------------------------------------------------------------------------------------------------

    def move_slot(self, slot: int, to: Node, *, leave_open: bool = False, share: float = 1.0) -> None:
        """Move a slot with its keys by MIGRATE, until all nodes know. One move at a time.

        `leave_open` stops half-way: `share` of the keys are moved, the slot keeps migrating; again without it ends it.
        """
        reshard.move_slot(self, slot, to, leave_open=leave_open, share=share)

    def give_up_move(self, slot: int, taker: Node) -> None:
        """End a move that was left open: the keys that `taker` has come back to the slot's owner."""
        reshard.give_up_move(self, slot, taker)

    def move_slots(self, slots: Iterable[int], to: Node) -> None:
        """Move slots one after the other; those that `to` has are left out."""
        for slot in slots:
            reshard.move_slot(self, slot, to)

    def migrate_atomically(self, slots: Iterable[int], to: Node) -> None:
        """Move slots by CLUSTER MIGRATESLOTS (9.1 only), until all nodes know."""
        reshard.migrate_atomically(self, set(slots), to)

    def kill_master(self, which: Node | int = 0) -> Node:
        """Kill a master (or the `which`-th) as a crash would, and return it."""
        node = self.masters[which] if isinstance(which, int) else which
        self._lost[node.id] = {seen.id: seen.slots for seen in self.view()}[node.id]
        node.kill()
        return node

    def wait_for_failover(self, killed: Node, timeout_s: float = READY_S) -> Node:
        """Wait until a replica of the master killed by `kill_master` has its slots; returns the new master."""
        self.wait_until_ready(timeout_s, without=killed)
        return self.owner(min(self._lost[killed.id]))

    def fail_over(self, master: Node, timeout_s: float = READY_S) -> Node:
        """Let a replica take a running master's place, in good order; returns the new master."""
        replica = self.replicas_of(master)[0]
        assert replica.call("CLUSTER", "FAILOVER") == b"OK"
        self._until(lambda: replica in self.masters, f"{replica} is no master", timeout_s)
        self.wait_until_ready(timeout_s)
        return replica

    def restart(self, node: Node, timeout_s: float = READY_S) -> None:
        """Start a killed node again on its port, without its keys; what it is then (master, replica), it decides."""
        if node.running:
            node.restart()
        else:
            node.start()
        self.wait_until_ready(timeout_s)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wait_until_ready(self, timeout_s: float = READY_S, without: Node | None = None) -> None:
        """Wait until every running node sees the same, all is covered that should be, and replicas have it all.

        `without`: a node that was killed and is to have no slots any more.
        """
        self._until(lambda: not self._missing(without), lambda: self._missing(without), timeout_s)

    @property
    def uncovered(self) -> int:
        """How many slots were given to nobody at the start."""
        return SLOTS - sum(last + 1 - first for share in self._shares for first, last in share)

    def _missing(self, without: Node | None) -> str:
        """Why the cluster is not ready; empty: it is."""
        maps = []
        alive = {node.id for node in self.running}
        for node in self.running:
            seen = {one.id: one for one in nodes_seen(node)}
            bad = [one.address for id, one in seen.items() if id in alive and (one.failed or not one.connected)]
            if bad or not alive <= seen.keys():
                return f"{node} sees {len(seen)} nodes, and not well: {bad}"
            maps.append({id: (seen[id].master, seen[id].slots) for id in alive})
            if without and seen[without.id].slots:
                return f"{node} leaves slots with {without}"
            if any(one.slots and one.master != "-" for one in seen.values()):
                return f"{node} sees a replica with slots"
            if not self.uncovered and node.cluster_info()["cluster_state"] != "ok":
                return f"{node}: cluster_state is not ok"
            if seen[node.id].is_replica and node.info("replication").get("master_link_status") != "up":
                return f"{node} is not in step with its master"
        return "" if all(one == maps[0] for one in maps) else "the nodes disagree about slots or roles"

    def _until(self, done: Callable[[], object], what: str | Callable[[], str], timeout_s: float = READY_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise NotReady(f"{self.kind}: {what if isinstance(what, str) else what()}\n{self.log_tail()}")
            time.sleep(0.02)

    def log_tail(self, lines: int = 10) -> str:
        """The ends of the logs of all nodes."""
        return "\n".join(node.log_tail(lines) for node in self.nodes)

    # -- life ---------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End all nodes. Again is allowed."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _settings(password: str, node_timeout_ms: int) -> list[str]:
    words = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
    words += ["--cluster-node-timeout", str(node_timeout_ms), "--cluster-replica-validity-factor", "0"]
    # Masters and replicas stay what they are until a test says otherwise.
    words += ["--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"]
    return words + (["--masterauth", password] if password else [])


def _equal_shares(masters: int) -> list[list[tuple[int, int]]]:
    borders = [SLOTS * at // masters for at in range(masters + 1)]
    return [[(first, end - 1)] for first, end in zip(borders, borders[1:], strict=False)]


def _knows(node: Node, other: Node) -> bool:
    return any(seen.id == other.id and not seen.failed for seen in nodes_seen(node))
