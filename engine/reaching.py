"""Reaching the servers of a side: from one address to a control connection to every node that holds data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from . import undo
from .logs import Log
from .partitioners import cluster, replicas, sentinel, topology
from .partitioners.cluster import Master
from .partitioners.control import Control
from .partitioners.topology import Server
from .workers.endpoint import Endpoint
from .workers.errors import AccessError, StateError, UnreachedError, UsageError

#: A server that does not answer is tried again after so long.
CONNECT_PAUSE_S = 0.5
#: A replica that is to get in step is looked at so often.
IN_STEP_PAUSE_S = 0.1
#: The master of a replica that the user has named may not be within our reach.
MASTER_ANSWER_S = 2.0


Seeds = tuple[list[Endpoint], list[Endpoint]]  # addresses of source and target; the first is the user's


def seeds_of(source: Endpoint, target: Endpoint) -> Seeds:
    """What the user has named."""
    ours, theirs = [[side, *(side.at(host, port) for host, port in side.seeds)] for side in (source, target)]
    return ours, theirs


@contextlib.contextmanager
def closed_on_error(controls: list[Control]) -> Iterator[None]:
    """Within `with`: where an error comes, what is in the list by then is given back."""
    try:
        yield
    except BaseException:
        for control in controls:
            control.close()
        raise


def add_nodes(seeds: list[Endpoint], servers: Sequence[Server]) -> None:
    """Remember where a cluster may be reached, should the node that the user named be gone."""
    nodes = [node for server in servers if server.clustered for node in (server.endpoint, *server.replicas)]
    seeds[1:] = [node for node in nodes if node.address != seeds[0].address]


def reach(
    endpoint: Endpoint, side: str, wait_for_s: float, patient: bool, log: Log, may_change: bool
) -> tuple[Control, Server]:
    """A control connection to a server that serves, and what it is. Raises AccessError, StateError.

    Settings that killed runs have left there are put back, or told of by those who may change nothing.

    A server that loads its data is waited for. One that does not answer at all is waited for only by the `patient`,
    who said --wait-for: mistyped addresses are more frequent than servers that are just being started.
    """
    control = _connect(endpoint, side, wait_for_s if patient else 0.0, log)
    with closed_on_error([control]):
        topology.wait_until_it_serves(control, wait_for_s, log.notice)
        server = topology.describe(control)
        undo.tell(undo.left_behind(control, server.run_id, may_change), log)
    return control, server


def _connect(endpoint: Endpoint, side: str, wait_for_s: float, log: Log) -> Control:
    deadline = time.monotonic() + wait_for_s
    said = False
    while True:
        control = Control(endpoint, side)
        try:
            if endpoint.sentinels:
                control.endpoint = sentinel.master_of(endpoint, side)
            control.open()
            return control
        except UnreachedError as error:
            control.close()
            if time.monotonic() >= deadline:
                raise
            if not said:
                log.notice(f"waiting: {error}")
                said = True
            time.sleep(CONNECT_PAUSE_S)


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
            text = f"{control.endpoint.address} and {seed.address} are no nodes of one cluster"
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


def take_replicas(
    masters: list[Control], servers: list[Server], wait_for_s: float, log: Log, may_change: bool
) -> tuple[list[Control], list[Server]]:
    """A replica in the place of each master, with the slots of that; who is a replica already stays.

    Raises StateError where a master has none to read from, or where those of a cluster do not get in step.
    """
    controls: list[Control] = []
    found: list[Server] = []
    try:
        with closed_on_error(controls):
            for control, server in zip(masters, servers):
                if server.role != "master":
                    one, seen = control, as_replica(control, server)
                else:
                    one, seen = _reach_replica(control, server, wait_for_s, log, may_change)
                controls.append(one)
                found.append(seen)
            if found[0].clustered:
                pairs = [replicas.Pair(one.node_id, *both) for one, *both in zip(servers, masters, controls)]
                _wait_until_in_step(pairs, wait_for_s)
    finally:
        for control in masters:
            if control not in controls:
                control.close()
    return controls, found


def as_replica(control: Control, server: Server) -> Server:
    """A replica that the user has named, with what is to be known of one. How far it is behind, its master tells.

    Raises StateError where another server answers at the master's address.
    """
    standing = replicas.standing_of(control)
    at = control.endpoint.at(*standing.master) if standing.master else None
    lag = -1
    if at is not None:
        master = Control(at.within(MASTER_ANSWER_S), control.side)
        try:
            theirs = replicas.standing_of(master)
            if theirs.has_data_of(standing):
                lag = max(0, theirs.offset - standing.offset)
            elif standing.link_up:
                text, where = replicas.NOT_ITS_MASTER.format(at.address), control.endpoint.address
                raise StateError(text, side=control.side, address=where, hint="--remap tells where its master is")
        except AccessError:
            pass  # many see their own replica only
        finally:
            master.close()
    return replace(server, standing=standing, master=at or server.endpoint, lag_bytes=lag)


def _reach_replica(
    master: Control, server: Server, wait_for_s: float, log: Log, may_change: bool
) -> tuple[Control, Server]:
    candidates = server.replicas or replicas.replicas_told(master)
    at = replace(replicas.best_of(master, candidates), sentinels=(), service="")
    control, found = reach(at, master.side, wait_for_s, False, log, may_change)
    with closed_on_error([control]):
        standing = replicas.standing_of(control)
        goal = replicas.standing_of(master).offset
    return control, replace(
        found,
        slots=server.slots,
        # A cluster knows its slots by the master, and tells of it where to go for them.
        node_id=server.node_id,
        announced=server.announced,
        replicas=(server.endpoint, *server.replicas),
        standing=standing,
        master=server.endpoint,
        lag_bytes=max(0, goal - standing.offset),
    )


def _wait_until_in_step(pairs: Sequence[replicas.Pair], wait_for_s: float) -> None:
    """Before this, a slot may have moved between masters whose replicas do not know it yet."""
    goal = replicas.Goal(pairs)
    deadline = time.monotonic() + wait_for_s
    while True:
        reason, address = goal.missing()
        if not reason:
            return
        if time.monotonic() >= deadline:
            raise StateError(reason, side=pairs[0].replica.side, address=address, hint=replicas.REMEDY)
        time.sleep(IN_STEP_PAUSE_S)
