"""Finding out, before the first key: who answers, what they hold, and whether we may do what we are asked."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from . import permissions
from .feed_choice import flags_of, will_switch
from .filtering import filters_of
from .logs import Log
from .pairs import choose_databases, refuse_databases_that_are_not_there
from .partitioners import cluster, topology
from .partitioners.clock import clock_shifts_ms
from .partitioners.control import Control
from .partitioners.probe import MIN_KEYS, why_not_a_ring
from .partitioners.server import Server
from .partitioners.slots import why_not_by_slot
from .planning import RDBCOMPRESSION
from .plans import Plan, Survey
from .reaching_side import reach_all
from .text import plural
from .waiting import Waiting
from .workers.endpoint import Endpoint
from .workers.errors import ChangedError
from .workers.task import Scope

COLUMNS = 80


@dataclass
class Controls:
    """The control connections of a run, one a node, in the order of the plan's nodes."""

    sources: list[Control]
    targets: list[Control]

    @property
    def all(self) -> list[Control]:
        """Those of both sides."""
        return self.sources + self.targets

    def wait_by(self, waiting: Waiting) -> None:
        """From now on, a server that is lost is waited for."""
        for control in self.all:
            control.patience = waiting

    def close(self) -> None:
        """Give all back."""
        for control in self.all:
            control.close()


def survey(
    seeds: tuple[list[Endpoint], list[Endpoint]],
    options: dict[str, Any],
    patient: bool,
    log: Log,
    may_change: bool,
    writes: bool = True,
    held: Collection[int] = (),
    compares: bool = False,
) -> tuple[Controls, Survey, list[tuple[int, int]]]:
    """Both sides, their databases in question, and the pairs of them; only reads, but for what `reach` may do.

    `seeds` are addresses of source and target; the first that answers will do. `--dbs all` are those that the source
    holds, or was seen to hold before (`held`); for one that `compares`, those that only the target holds as well.
    """
    wait_for_s = options["wait_for"]
    source_at, target_at = seeds[0][0], seeds[1][0]
    controls = Controls([], [])
    try:
        controls.sources, sources = reach_all(seeds[0], "source", wait_for_s, patient, log, may_change)
        controls.targets, targets = reach_all(seeds[1], "target", wait_for_s, patient, log, may_change, writes)
        sides = [*zip(controls.sources, sources), *zip(controls.targets, targets)]
        flags = [flags_of(one) for one in controls.sources] if options["live"] else []
        uses = permissions.uses_of(options, sources, targets, (source_at.db, target_at.db), writes)
        uses = replace(uses, switches=will_switch(flags, options))
        allowed = permissions.check(sides, uses, may_change)
        held = held_by(sources).union(held, held_by(targets) if compares else ())
        pairs = choose_databases(options, source_at.db, target_at.db, held)
        refuse_databases_that_are_not_there(targets[0], pairs)
        found = Survey(
            sources,
            targets,
            target_sizes={db: database_size(controls.targets, db) for db in sorted({db for _, db in pairs})},
            shifts=clock_shifts_ms(controls.sources, controls.targets),
            filters=filters_of(options, controls.sources[0], sources[0]),
            job=os.urandom(4).hex(),
            permissions=allowed,
            flags=flags,
        )
        permissions.check_keys(sides, uses, found.filters, [db for db, _ in pairs], allowed)
        if options["source_rdbcompression"]:
            found.rdbcompression.extend(topology.setting(one, RDBCOMPRESSION) for one in controls.sources)
        for number, (control, server) in enumerate(zip(controls.sources, sources)):
            for db, _ in pairs:
                look_into(found, control, server, (number, db), by_name=bool(options["keys_from"] or options["limit"]))
    except BaseException:
        controls.close()
        raise
    return controls, found, pairs


def held_by(servers: list[Server]) -> set[int]:
    """The databases of a side that hold keys."""
    return {db for server in servers for db in server.databases}


def database_size(controls: list[Control], db: int) -> int:
    """The keys of a database over all nodes of a side. Raises AccessError."""
    return sum(topology.database_size(control, db) for control in controls)


def look_into(found: Survey, control: Control, server: Server, scope: Scope, by_name: bool) -> None:
    """Find out how many keys a database of a node holds, and how it can be cut."""
    keys = found.sizes[scope] = topology.database_size(control, scope[1])
    if server.foreign:
        found.opaque[scope] = f"{server.product} has its own cursors"
        return
    if keys < MIN_KEYS or by_name:
        return
    if server.clustered and not why_not_by_slot(control, server.slots):
        found.opaque[scope] = ""
        asked = set(cluster.slots_in(found.filters.slots)) if found.filters.slots else None
        numbers = [slot for slot in cluster.slots_in(server.slots) if asked is None or slot in asked]
        found.slot_keys[scope] = cluster.keys_in_slots(control, numbers)
    else:
        found.opaque[scope] = why_not_a_ring(control, keys)


def check_identities(plan: Plan, controls: Controls) -> None:
    """Raise ChangedError where a server is not the one any more that the plan was made for."""
    for control, node in zip(controls.all, plan.setup.sources + plan.setup.targets):
        now = topology.identity(control)
        for name, then, found in zip(("run_id", "master_replid"), (node.run_id, node.replid), now):
            if then and found and then != found:
                text = f"its {name} is another than when the copy began (restarted, failed over or replaced)"
                raise ChangedError(text, side=control.side, address=control.endpoint.address)


def first_line(found: Survey, pairs: list[tuple[int, int]]) -> str:
    """Both sides as they were resolved, on one line, or on two where one is too long for a terminal."""
    keys = sum(found.sizes.values())
    sides = [
        f"{_who(servers)} {_databases(dbs)} · {products(servers)} · {plural(count, 'key')}"
        for servers, dbs, count in (
            (found.sources, [db for db, _ in pairs], keys),
            (found.targets, [db for _, db in pairs], sum(found.target_sizes.values())),
        )
    ]
    line = " → ".join(sides)
    return line if len(line) <= COLUMNS else "\n  → ".join(sides)


def _who(servers: list[Server]) -> str:
    """A side as its user named it, or the first master of a cluster and how many there are."""
    first = servers[0]
    address = f"{first.endpoint.user}@{first.endpoint.address}" if first.endpoint.user else first.endpoint.address
    if first.clustered:
        return f"{address} (cluster of {plural(len(servers), 'master')}{', by replicas' * (first.master is not None)})"
    return f"{address} (replica of {first.master.address})" if first.master else address


def products(servers: list[Server]) -> str:
    """Product and version of a side; of a cluster that is being upgraded, each that there is."""
    return ", ".join(dict.fromkeys(server.name for server in servers))


def _databases(dbs: list[int]) -> str:
    return f"db {dbs[0]}" if len(dbs) == 1 else f"dbs {','.join(map(str, dbs))}" if dbs else "no db"
