"""Making the plan: pure; from what the servers are and what the user wants to the tasks of the workers."""

from __future__ import annotations

from typing import Any

from .eviction import unread_bytes
from .feed_choice import choose, flags_wanted
from .filtering import filter_lines
from .limits import Limits
from .pairs import refuse_keys_at_the_target, refuse_same_database
from .partitioners import ranges, slots
from .partitioners.cluster import slots_in
from .partitioners.ranges import MIN_RANGE_KEYS
from .partitioners.server import Database, Server
from .plan_warnings import warnings_of
from .plans import DatabasePlan, Plan, Survey
from .undo import Wanted
from .workers.cursor import RING
from .workers.expiry import Clock
from .workers.setup import Node, Setup
from .workers.task import Scope

#: Tasks that a worker has in hand at a time: enough to keep both servers busy over a short distance.
LANES = 8
#: Over a long distance workers take more (`workers/adapt.py`), together as many as these: each takes some memory.
MOST_LANES = 256
#: The setting by which a server compresses what DUMP returns, and its values for --source-rdbcompression.
RDBCOMPRESSION = "rdbcompression"
RDBCOMPRESSION_VALUES = {"on": "yes", "off": "no"}


def make(survey: Survey, pairs: list[tuple[int, int]], options: dict[str, Any], pool: int, again: bool = False) -> Plan:
    """The plan for copying each (source db, target db) of `pairs`. Raises RefusedError where it would be unsafe."""
    refuse_same_database(survey, pairs)
    if options["require_empty"] and not again:
        refuse_keys_at_the_target(survey)
    workers = options["workers"]
    databases = [
        plan_database(survey, (node, db), target, max(1, workers * LANES // len(survey.sources)), options)
        for db, target in pairs
        for node in range(len(survey.sources))
    ]
    work = sum(workers if part.opaque or part.by_name else max(len(part.cuts), 1) for part in databases)
    if options["limit"] is not None:
        work = min(work, -(-options["limit"] // MIN_RANGE_KEYS))
    workers = max(1, workers if options["live"] else min(workers, work))
    feed = choose(survey, [db for db, _ in pairs], options) if options["live"] else ""
    some_slots = bool(survey.filters.slots) and all(part.by_slot for part in databases)
    setup = _setup(survey, options, pool, workers)
    return Plan(
        survey=survey,
        databases=databases,
        workers=workers,
        lanes=LANES,
        setup=setup,
        warnings=warnings_of(survey, options, feed),
        silence_s=options["silence_s"],
        put_aside=options["put_aside"] or "",
        settings=_settings(survey, options) + flags_wanted(survey, feed, options["enable_notifications"]),
        limits=_limits(options),
        feed=feed,
        again=again,
        some_slots=some_slots,
        limit=options["limit"],
        keys_from=options["keys_from"] or "",
        filter_lines=filter_lines(options, survey.filters, some_slots),
    )


def _limits(options: dict[str, Any]) -> Limits:
    return Limits(options["rate"], options["bandwidth"], options["max_source_latency"])


def _setup(survey: Survey, options: dict[str, Any], pool: int, workers: int) -> Setup:
    """What each of the workers is told."""
    return Setup(
        sources=[_node(server) for server in survey.sources],
        targets=[_node(server) for server in survey.targets],
        job=survey.job,
        method=options["method"],
        clock=Clock(survey.knows((7, 0)), wanted=not options["no_ttl"]),
        target_absolute=all(server.knows((7, 0)) for server in survey.targets),
        tolerance_ms=round(1000 * options["ttl_tolerance"]),
        quick=options["verify"] == "quick",
        shifts=survey.shifts,
        on_conflict=options["on_conflict"],
        atomic=options["atomic"],
        lanes=LANES,
        most_lanes=max(LANES, MOST_LANES // workers),
        links=max(1, pool // options["workers"]),
        batch_keys=options["batch"],
        scan_count=options["scan_count"],
        measured=[one.side for one in (survey.sources[0], survey.targets[0]) if one.endpoint.latency],
        retry_for_s=options["retry_for"],
        paced=bool(_limits(options)),
        unread_bytes=[unread_bytes(server.maxmemory, server.used_memory) for server in survey.sources],
        workers=workers,
        filters=survey.filters,
    )


def plan_database(survey: Survey, scope: Scope, target_db: int, lanes: int, options: dict[str, Any]) -> DatabasePlan:
    """How a database of a node is cut, for so many lanes that it may have."""
    keys, wanted = survey.sizes[scope], options["ranges"]
    by_name = _by_name(options)
    known = survey.sources[scope[0]].databases.get(scope[1], Database(keys, 0))
    probed, opaque = scope in survey.opaque, survey.opaque.get(scope, "")
    slot_keys = survey.slot_keys.get(scope)
    if opaque or by_name:
        cuts = []
    elif slot_keys is not None:
        cuts = slots.cut(slot_keys, lanes, set(slots_in(survey.sources[scope[0]].slots)) - slot_keys.keys())
        keys = sum(slot_keys.values())
    elif probed or wanted:
        cuts = [(start, end, 0) for start, end in ranges.cut(keys, lanes, wanted)]
    else:
        cuts = [(0, RING, 0)]
    return DatabasePlan(
        *scope,
        target_db,
        keys,
        known.expiring,
        target_keys=survey.target_sizes.get(target_db, 0),
        cuts=cuts,
        opaque=opaque,
        probed=probed or bool(wanted),
        by_name=by_name,
        by_slot=slot_keys is not None,
    )


def _by_name(options: dict[str, Any]) -> str:
    """Where the names of keys come from, in a few words; '' where ranges are scanned."""
    if options["keys_from"]:
        return "names from stdin" if options["keys_from"] == "-" else "names from a file"
    return "" if options["limit"] is None else "one scanner, for --limit"


def _settings(survey: Survey, options: dict[str, Any]) -> list[tuple[int, Wanted]]:
    """What is asked of each source node, even if it has that value: it may be another run's, which ends before ours."""
    if not options["source_rdbcompression"]:
        return []
    value = RDBCOMPRESSION_VALUES[options["source_rdbcompression"]]
    return [
        (number, Wanted(server.run_id, RDBCOMPRESSION, value))
        for number, (server, now) in enumerate(zip(survey.sources, survey.rdbcompression))
        if now
    ]


def _node(server: Server) -> Node:
    # In a cluster, 8.2 crashes on CLIENT NO-TOUCH together with a slot that is being moved.
    no_touch = server.knows((7, 2)) and not server.clustered
    reads = server.side == "source"
    slots = list(server.slots)
    return Node(
        server.endpoint,
        server.run_id,
        server.replid,
        no_touch,
        server.max_value_bytes,
        server.announced,
        slots,
        reads,
        replica=server.clustered and server.master is not None,
        fields_may_expire=server.fields_may_expire,
    )
