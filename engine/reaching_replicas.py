"""Reaching replicas, to be read in the place of their masters, or because the user has named one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from .logs import Log
from .partitioners import replicas
from .partitioners.control import Control
from .partitioners.server import Server
from .reaching import closed_on_error, reach
from .workers.errors import AccessError, StateError

#: A replica that is to get in step is looked at so often.
IN_STEP_PAUSE_S = 0.1
#: The master of a replica that the user has named may not be within our reach.
MASTER_ANSWER_S = 2.0


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

    That of a replica of a replica is the one at the top: what is between them may be behind as well. Raises StateError
    where another server answers at a master's address.
    """
    standing = replicas.standing_of(control)
    at = control.endpoint.at(*standing.master) if standing.master else None
    lag, below, where = -1, standing, control.endpoint.address
    passed = {where}
    while at is not None:
        master = Control(at.within(MASTER_ANSWER_S), control.side)
        try:
            theirs = replicas.standing_of(master)
        except AccessError:
            break  # many see their own replica only
        finally:
            master.close()
        if not theirs.has_data_of(below):
            if below.link_up:
                text = replicas.NOT_ITS_MASTER.format(at.address)
                raise StateError(text, side=control.side, address=where, hint="--remap tells where its master is")
            break
        passed.add(at.address)
        above = control.endpoint.at(*theirs.master) if theirs.master else None
        if above is None or above.address in passed:
            lag = max(0, theirs.offset - standing.offset)
            break
        at, below, where = above, theirs, at.address
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
