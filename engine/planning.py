"""What a run will do: pure; from what the servers are and what the user wants to the tasks of the workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .eviction import unread_bytes
from .feed_choice import choose, flags_wanted
from .filtering import filter_lines
from .limits import Limits
from .pairs import refuse_keys_at_the_target, refuse_same_database
from .partitioners import ranges, slots
from .partitioners.cluster import slots_in
from .partitioners.ranges import MIN_RANGE_KEYS
from .partitioners.slots import Cut, density
from .partitioners.topology import Database, Server
from .permissions import Permissions
from .plan_warnings import warnings_of
from .text import plural
from .undo import Wanted
from .workers.cursor import RING
from .workers.expiry import Clock
from .workers.filters import Filters
from .workers.task import COPY_RANGE, LIST_KEYS, Node, Scope, Setup, Task

#: Tasks that a worker has in hand at a time: enough to keep both servers busy over a short distance.
LANES = 8
#: Over a long distance workers take more (`workers/adapt.py`), together as many as these: each takes some memory.
MOST_LANES = 256
#: A rule of thumb for estimates: what one machine copies over a near network.
KEYS_A_SECOND, BYTES_A_SECOND = 250_000, 200_000_000
#: The setting by which a server compresses what DUMP returns, and its values for --source-rdbcompression.
RDBCOMPRESSION = "rdbcompression"
RDBCOMPRESSION_VALUES = {"on": "yes", "off": "no"}


@dataclass(frozen=True)
class Survey:
    """What was found out before the plan: all nodes of both sides, and the databases in question."""

    sources: list[Server]
    targets: list[Server]
    sizes: dict[Scope, int] = field(default_factory=dict)  # DBSIZE
    target_sizes: dict[int, int] = field(default_factory=dict)  # of each database, over all nodes
    opaque: dict[Scope, str] = field(default_factory=dict)  # those probed: why cursors cannot be split; '' = they can
    slot_keys: dict[Scope, dict[int, int]] = field(
        default_factory=dict
    )  # cursors go by slot: keys of each one asked for
    shifts: list[list[int]] = field(default_factory=list)  # Setup.shifts
    filters: Filters = Filters()
    job: str = ""
    flags: list[str | None] = field(default_factory=list)  # notify-keyspace-events of each source; None: not told
    rdbcompression: list[str] = field(default_factory=list)  # of each source, if it is to be changed; '' = not told
    permissions: Permissions = field(default_factory=Permissions)

    @property
    def shift_ms(self) -> int:
        """The largest of all differences of clocks."""
        return max((shift for row in self.shifts for shift in row), key=abs, default=0)

    def knows(self, redis_since: tuple[int, int]) -> bool:
        """Whether all sources have a command of that version."""
        return all(server.knows(redis_since) for server in self.sources)


@dataclass(frozen=True)
class DatabasePlan:
    """How one database of one source node is copied."""

    node: int
    db: int
    target_db: int
    keys: int  # that are read: those of the slots asked for, where cursors go by slot
    expiring: int
    target_keys: int
    cuts: list[Cut] = field(repr=False, default_factory=list)
    opaque: str = ""
    probed: bool = True
    by_name: str = ""  # where the names come from, when it is not scanned in ranges
    by_slot: bool = False  # cursors go by slot

    @property
    def scope(self) -> Scope:
        """Which node's which database."""
        return self.node, self.db

    @property
    def how(self) -> str:
        """In a few words, for the plan."""
        if self.by_name:
            return self.by_name
        if self.opaque:
            return f"one scanner: {self.opaque}"
        return plural(len(self.cuts), "range") + (" of slots" if self.by_slot else "")


@dataclass(frozen=True)
class Plan:
    """Everything that the coordinator needs to know."""

    survey: Survey
    databases: list[DatabasePlan]
    workers: int
    lanes: int
    setup: Setup
    warnings: list[str]
    silence_s: float
    put_aside: str
    settings: list[tuple[int, Wanted]]  # of source nodes, by their numbers, for the time of the run
    limits: Limits = Limits()
    feed: str = ""  # how changes are learned, with --live
    again: bool = False  # an earlier pass of this run has written to the target
    some_slots: bool = False  # only the slots asked for are scanned, as all cursors go by slot
    limit: int | None = None
    keys_from: str = ""
    filter_lines: list[str] = field(default_factory=list)

    @property
    def keys(self) -> int:
        """Keys of the databases in question, when they were counted."""
        return sum(part.keys for part in self.databases)

    @property
    def keys_most(self) -> int:
        """How many of them are copied at most, before other filters than --limit are applied."""
        return self.keys if self.limit is None else min(self.keys, self.limit)

    @property
    def keys_total(self) -> int:
        """How many will be read, for the display of progress; 0: nobody knows."""
        return 0 if self.keys_from or self.setup.filters.scan_words else self.keys_most

    @property
    def by_name(self) -> bool:
        """Whether keys are copied by name, as `supply` has it, and not by ranges."""
        return bool(self.keys_from) or self.limit is not None

    @property
    def value_bytes(self) -> int:
        """About how many bytes their values have in the source's memory, before filtering."""
        sources = self.survey.sources
        size, keys = sum(one.dataset_bytes for one in sources), sum(one.keys for one in sources)
        return size * self.keys_most // max(keys, 1)

    @property
    def seconds(self) -> float:
        """About how long the copy takes; a rule of thumb, unless a limit makes it longer; before filtering."""
        unlimited_s = max(self.keys_most / KEYS_A_SECOND, self.value_bytes / BYTES_A_SECOND)
        return max(unlimited_s, self.limits.seconds(self.keys_most, self.value_bytes))

    @property
    def connections(self) -> int:
        """At most so many connections to a node: one for each worker and database at a time, one or two for control."""
        control = 1 + (self.limits.slower_s is not None) + bool(self.feed)
        return self.workers * min(self.setup.links, len({part.db for part in self.databases})) + control

    def tasks(self) -> list[Task]:
        """The first tasks, in the order in which they are handed out."""
        if self.by_name:
            return []
        tasks: list[Task] = []
        for db in dict.fromkeys(part.db for part in self.databases):
            tasks += _shuffled([self._tasks_of(part) for part in self.databases if part.db == db])
        for number, task in enumerate(tasks):
            task.id = number
        return tasks

    def _tasks_of(self, part: DatabasePlan) -> list[Task]:
        """The tasks that copy one database of one node."""
        common: dict[str, Any] = {"id": 0, "node": part.node, "db": part.db, "target_db": part.target_db}
        if part.opaque:
            # Such a server may tell a key twice at any time: what exists the second time is our own.
            return [Task(kind=LIST_KEYS, checked=False, own=True, db_keys=part.keys, **common)]
        no_expiries = part.probed and not part.expiring and self.setup.clock.wanted
        own = self.again or not part.target_keys
        return [
            Task(
                kind=COPY_RANGE,
                start=start,
                end=end,
                by_slot=part.by_slot,
                checked=part.probed,
                db_keys=density(start, end, keys) if part.by_slot else part.keys,
                no_expiries=no_expiries,
                own=own,
                **common,
            )
            for start, end, keys in part.cuts
        ]


def _shuffled(piles: list[list[Task]]) -> list[Task]:
    """One list of tasks, evenly of each node from the first to the last: so all nodes have work at all times."""
    order = [((number + 0.5) / len(pile), task) for pile in piles for number, task in enumerate(pile)]
    return [task for _, task in sorted(order, key=lambda pair: pair[0])]


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
        settings=_settings(survey, options) + (flags_wanted(survey, feed) if options["enable_notifications"] else []),
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
