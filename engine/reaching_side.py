"""Reaching a side: from the addresses that its user has named to a control connection to every node that holds data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from .logs import Log
from .partitioners import cluster, topology
from .partitioners.cluster import Master
from .partitioners.control import Control
from .partitioners.server import Server
from .reaching import CONNECT_PAUSE_S, closed_on_error, reach
from .reaching_replicas import as_replica, take_replicas
from .workers.endpoint import Endpoint
from .workers.errors import StateError, UnreachedError, UsageError

Seeds = tuple[list[Endpoint], list[Endpoint]]  # addresses of source and target; the first is the user's


def seeds_of(source: Endpoint, target: Endpoint) -> Seeds:
    """What the user has named."""
    ours, theirs = [[side, *(side.at(host, port) for host, port in side.seeds)] for side in (source, target)]
    return ours, theirs


def add_nodes(seeds: list[Endpoint], servers: Sequence[Server]) -> None:
    """Remember where a cluster may be reached, should the node that the user named be gone."""
    nodes = [node for server in servers if server.clustered for node in (server.endpoint, *server.replicas)]
    seeds[1:] = [node for node in nodes if node.address != seeds[0].address]


def reach_all(
    seeds: Sequence[Endpoint],
    side: str,
    wait_for_s: float,
    patient: bool,
    log: Log,
    may_change: bool,
    writes: bool = True,
) -> tuple[list[Control], list[Server]]:
    """As `reach`, for every server that holds the data: of a cluster, all masters that own slots.

    Raises StateError for a cluster that does not serve all slots, AccessError for a master that is not reached. The
    patient wait for both: a master that has died is replaced by one of its replicas after a while.
    """
    deadline = time.monotonic() + wait_for_s
    said = False
    while True:
        try:
            controls, servers = _reach_all(seeds, side, wait_for_s, patient and len(seeds) == 1, log, may_change)
            if seeds[0].read_from == "replica":
                controls, servers = take_replicas(controls, servers, wait_for_s, log, may_change)
            with closed_on_error(controls):
                if side == "source" and seeds[0].read_from != "replica":
                    servers = [as_replica(*one) if one[1].role == "slave" else one[1] for one in zip(controls, servers)]
                for server in servers:
                    topology.refuse_what_we_cannot_copy(server, writes)
            return controls, servers
        except (UnreachedError, StateError) as error:
            if not patient or time.monotonic() >= deadline:
                raise
            if not said:
                log.notice(f"waiting: {error}")
                said = True
            time.sleep(CONNECT_PAUSE_S)


def _reach_all(
    seeds: Sequence[Endpoint], side: str, wait_for_s: float, patient: bool, log: Log, may_change: bool
) -> tuple[list[Control], list[Server]]:
    control, server = _reach_one_of(seeds, side, wait_for_s, patient, log, may_change)
    if not server.clustered:
        with closed_on_error([control]):
            if server.endpoint.sentinels and server.role != "master":
                text = f"its Sentinels call it the master of {server.endpoint.service}, and it is none"
                raise UnreachedError(text, side=side, address=server.endpoint.address, hint="is a failover under way?")
            topology.refuse_no_cluster(server)
            _refuse_seeds(seeds, control, [])
        return [control], [server]
    controls: list[Control] = []
    servers: list[Server] = []
    with contextlib.closing(control), closed_on_error(controls):
        masters = cluster.masters_of(control)
        _refuse_seeds(seeds, control, [seen.place.node_id for seen in cluster.nodes_seen(control)])
        cluster.refuse_gaps(control, masters)
        for master in masters:
            one, found = _reach_master(master, len(masters), control, wait_for_s, log, may_change)
            controls.append(one)
            servers.append(found)
            cluster.refuse_unknown_takers(one, masters)
    return controls, servers


def _refuse_seeds(seeds: Sequence[Endpoint], control: Control, ids: list[str]) -> None:
    """Raise UsageError where several -u name servers that are not all nodes of one cluster; those down are left out."""
    for seed in seeds if seeds[0].seeds else ():
        other = Control(seed, control.side)
        try:
            other.open()
            known = cluster.my_id(other) in ids
        except UnreachedError:
            continue
        finally:
            other.close()
        if not known:
            here = control.endpoint.address
            there = next((one.address for one in (seed, *seeds) if one.address != here), here)
            text = f"{here} and {there} are no nodes of one cluster"
            raise UsageError(text, side=control.side, hint="keyferry replicate SOURCE TARGET")


def _reach_one_of(
    seeds: Sequence[Endpoint], side: str, wait_for_s: float, patient: bool, log: Log, may_change: bool
) -> tuple[Control, Server]:
    """The first of some addresses that answers. Raises the error of the last one."""
    for seed in seeds[:-1]:
        try:
            return reach(seed, side, wait_for_s, False, log, may_change)
        except UnreachedError:
            continue
    return reach(seeds[-1], side, wait_for_s, patient, log, may_change)


def _reach_master(
    master: Master, of: int, control: Control, wait_for_s: float, log: Log, may_change: bool
) -> tuple[Control, Server]:
    """A master that the node behind `control` tells of; there are so many `of` them."""
    at = cluster.endpoint_of(control.endpoint, master.place)
    try:
        one, found = reach(at, control.side, wait_for_s, False, log, may_change)
    except UnreachedError as error:
        raise cluster.unreachable(error, of) from None
    return one, replace(
        found,
        slots=tuple(master.slots),
        node_id=master.node_id,
        announced=master.place.address,
        replicas=tuple(cluster.endpoint_of(at, place) for place in master.replicas),
    )
