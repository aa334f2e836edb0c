"""Replicas that are read in the place of their masters: how they stand, and which of a master's is the best one.

How far a replica is behind is counted in bytes of the stream of changes: its master's offset less its own.

A FULL RESYNC empties a replica and loads it anew, so whoever scans it meanwhile misses keys. It may keep run_id and
master_replid, and be over between two looks. What tells of it is the CLIENT ID of the master's connection to the
replica: the connection outlives every partial resync, and a full one makes another (tried on 6.2, 7.0, 8.2, 9.1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..workers.endpoint import Endpoint
from ..workers.errors import AccessError, StateError
from ..workers.resp import info_fields
from .cluster import nodes_seen
from .control import Control, ReplyError

_REPLICA = re.compile(r"ip=(?P<host>.*),port=(?P<port>\d+),state=online,")
REMEDY = "wait until a replica is in step (--wait-for), or read the master: --read-from master"

#: Its offset would tell nothing about the replica.
NOT_ITS_MASTER = "what answers at {} is not its master: it has another master_replid"


@dataclass(frozen=True)
class Standing:
    """How a server stands in its replication."""

    role: str
    run_id: str
    replid: str  # master_replid: which data
    offset: int  # bytes of the stream of changes that it has; -1 = not told
    link_up: bool  # a replica's connection to its master
    loading: bool
    link_id: int  # CLIENT ID of that connection; 0 = there is none, or it is not told
    master: tuple[str, int] | None  # host and port of a replica's master

    @property
    def why_not(self) -> str:
        """Why it is no replica to read from; '' where it is."""
        if self.role != "slave":
            return "is no replica"
        if self.loading:
            return "loads its data"
        return "" if self.link_up else "has lost its master"

    def has_data_of(self, other: Standing) -> bool:
        """Whether both have the same master_replid, as a master and its replicas do; also where one does not tell."""
        return not (self.replid and other.replid) or self.replid == other.replid


def standing_of(control: Control) -> Standing:
    """Ask a server. Raises AccessError where it is not reached, or does not tell."""
    reply = control.call("INFO")
    if isinstance(reply, ReplyError):
        raise control.refused("INFO refused", reply)
    info = info_fields(reply)
    role = info.get("role", "")
    offset = info.get("slave_repl_offset" if role == "slave" else "master_repl_offset", "-1")
    return Standing(
        role=role,
        run_id=info.get("run_id", ""),
        replid=info.get("master_replid", ""),
        offset=int(offset),
        link_up=info.get("master_link_status") == "up" and info.get("master_sync_in_progress") != "1",
        loading=info.get("loading", "0") != "0" or info.get("async_loading", "0") != "0",
        link_id=_link_id(control) if role == "slave" else 0,
        master=(info["master_host"], int(info.get("master_port", 0))) if "master_host" in info else None,
    )


def _link_id(control: Control) -> int:
    reply = control.call("CLIENT", "LIST", "TYPE", "MASTER")
    found = re.match(rb"id=(\d+) ", reply) if isinstance(reply, bytes) else None
    return int(found[1]) if found else 0


def replicas_told(master: Control) -> list[Endpoint]:
    """The replicas that a master has online, where it sees them."""
    reply = master.call("INFO", "replication")
    lines = info_fields(reply).values() if isinstance(reply, bytes) else ()
    found = [match for match in map(_REPLICA.match, lines) if match]
    return [master.endpoint.at(match["host"], int(match["port"])) for match in found]


def best_of(master: Control, candidates: Sequence[Endpoint]) -> Endpoint:
    """The replica of a master that is the least behind. Raises StateError where none can be read."""
    wanted = standing_of(master)
    usable: list[tuple[int, Endpoint]] = []
    reasons = []
    for candidate in candidates:
        control = Control(candidate, master.side)
        try:
            control.open()
            standing = standing_of(control)
        except AccessError as error:
            reasons.append(f"{candidate.address} {error.message}")
            continue
        finally:
            control.close()
        why_not = standing.why_not or ("" if standing.has_data_of(wanted) else "is of another master")
        if why_not:
            reasons.append(f"{candidate.address} {why_not}")
        else:
            usable.append((standing.offset, candidate))
    if not usable:
        text = f"no replica to read from: {'; '.join(reasons) or 'it has none online'}"
        raise StateError(text, side=master.side, address=master.endpoint.address, hint=REMEDY)
    return max(usable, key=lambda one: one[0])[1]


@dataclass(frozen=True)
class Pair:
    """A master and the replica that is read in its place."""

    node_id: str  # the master's in its cluster; '' = there is none
    master: Control
    replica: Control


class Goal:
    """What masters had at one moment, for their replicas to have it too; until then, a key that has moved from one
    master of a cluster to another may be in neither replica."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        """Ask the masters. Raises AccessError."""
        self.pairs = pairs
        self.masters = [standing_of(pair.master) for pair in pairs]

    def missing(self) -> tuple[str, str]:
        """(reason, address) of a replica that is not there yet, ('', '') where all are. Raises AccessError."""
        for pair, master in zip(self.pairs, self.masters):
            address = pair.replica.endpoint.address
            replica = standing_of(pair.replica)
            if not master.has_data_of(replica):
                return NOT_ITS_MASTER.format(pair.master.endpoint.address), address
            behind = master.offset - replica.offset
            if behind > 0:
                return f"it is {behind:,} bytes behind its master", address
            if pair.node_id and _slots_of(pair.replica, pair.node_id) != _slots_of(pair.master, pair.node_id):
                return "it does not know yet which slots its master has", address
        return "", ""


def _slots_of(control: Control, node_id: str) -> list[tuple[int, int]]:
    return next((seen.slots for seen in nodes_seen(control) if seen.place.node_id == node_id), [])
