"""What a run will do: pure; from what the servers are and what the user wants to the tasks of the workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .eviction import unread_bytes
from .filtering import filter_lines
from .limits import Limits
from .partitioners import ranges
from .partitioners.ranges import MIN_RANGE_KEYS
from .partitioners.topology import Database, Server
from .text import plural
from .undo import Wanted
from .workers.cursor import RING
from .workers.errors import RefusedError, UsageError
from .workers.expiry import Clock
from .workers.filters import Filters
from .workers.task import COPY_RANGE, LIST_KEYS, Node, Setup, Task

#: Tasks that a worker has in hand at a time: enough to keep both servers busy over a short distance.
LANES = 8
#: Over a long distance workers take more (`workers/adapt.py`), together as many as these: each takes some memory.
MOST_LANES = 256
#: A rule of thumb for estimates: what one machine copies over a near network.
KEYS_A_SECOND, BYTES_A_SECOND = 250_000, 200_000_000
#: A difference of clocks that deserves a word.
SKEW_WARNING_MS = 1000
#: The setting by which a server compresses what DUMP returns, and its values for --source-rdbcompression.
RDBCOMPRESSION = "rdbcompression"
RDBCOMPRESSION_VALUES = {"on": "yes", "off": "no"}
#: What becomes of keys that a target database holds already, by --on-conflict.
EXISTING = {
    "replace": "those copied are replaced",
    "skip": "they are left as they are",
    "fail": "one that is to be copied ends the run",
}
#: Policies under which a server throws keys away by itself.
EVICTING = ("allkeys", "volatile")


@dataclass(frozen=True)
class Survey:
    """What was found out before the plan: both servers, and the databases in question."""

    source: Server
    target: Server
    sizes: dict[int, int]  # DBSIZE of each source database in question
    target_sizes: dict[int, int]
    opaque: dict[int, str]  # databases whose cursors cannot be split, and why
    shift_ms: int = 0
    filters: Filters = Filters()
    job: str = ""
    rdbcompression: str = ""  # of the source, if it is to be changed and the source tells


@dataclass(frozen=True)
class DatabasePlan:
    """How one database is copied."""

    db: int
    target_db: int
    keys: int
    expiring: int
    target_keys: int
    cuts: list[tuple[int, int]] = field(repr=False, default_factory=list)
    opaque: str = ""
    probed: bool = True
    by_name: str = ""  # where the names come from, when it is not scanned in ranges

    @property
    def how(self) -> str:
        """In a few words, for the plan."""
        if self.by_name:
            return self.by_name
        if self.opaque:
            return f"one scanner: {self.opaque}"
        return f"{len(self.cuts)} range{'s' if len(self.cuts) > 1 else ''}"


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
    settings: list[Wanted]  # of the source, for the time of the run
    limits: Limits = Limits()
    again: bool = False  # an earlier pass of this run has written to the target
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
        source = self.survey.source
        return source.dataset_bytes * self.keys_most // max(source.keys, 1)

    @property
    def seconds(self) -> float:
        """About how long the copy takes; a rule of thumb, unless a limit makes it longer; before filtering."""
        unlimited_s = max(self.keys_most / KEYS_A_SECOND, self.value_bytes / BYTES_A_SECOND)
        return max(unlimited_s, self.limits.seconds(self.keys_most, self.value_bytes))

    @property
    def connections(self) -> int:
        """At most so many connections a side: one for each worker and database at a time, one or two for control."""
        control = 1 + (self.limits.slower_s is not None)
        return self.workers * min(self.setup.links, len(self.databases)) + control

    def tasks(self) -> list[Task]:
        """The first tasks, in the order in which they are handed out."""
        if self.by_name:
            return []
        tasks: list[Task] = []
        for part in self.databases:
            tasks += self._tasks_of(part, len(tasks))
        return tasks

    def _tasks_of(self, part: DatabasePlan, first_id: int) -> list[Task]:
        """The tasks that copy one database, numbered from `first_id` on."""
        common: dict[str, Any] = {"db": part.db, "target_db": part.target_db, "db_keys": part.keys}
        if part.opaque:
            # Such a server may tell a key twice at any time: what exists the second time is our own.
            return [Task(first_id, LIST_KEYS, checked=False, own=True, **common)]
        no_expiries = part.probed and not part.expiring and self.setup.clock.wanted
        own = self.again or not part.target_keys
        return [
            Task(
                first_id + j,
                COPY_RANGE,
                start=start,
                end=end,
                checked=part.probed,
                no_expiries=no_expiries,
                own=own,
                **common,
            )
            for j, (start, end) in enumerate(part.cuts)
        ]


def make(survey: Survey, pairs: list[tuple[int, int]], options: dict[str, Any], pool: int, again: bool = False) -> Plan:
    """The plan for copying each (source db, target db) of `pairs`. Raises RefusedError where it would be unsafe."""
    refuse_same_database(survey, pairs)
    if options["require_empty"] and not again:
        refuse_keys_at_the_target(survey)
    workers, lanes = options["workers"], LANES
    databases = [_plan_database(survey, db, target, workers * lanes, options) for db, target in pairs]
    work = sum(workers if part.opaque or part.by_name else max(len(part.cuts), 1) for part in databases)
    if options["limit"] is not None:
        work = min(work, -(-options["limit"] // MIN_RANGE_KEYS))
    workers = max(1, min(workers, work))
    limits = Limits(options["rate"], options["bandwidth"], options["max_source_latency"])
    setup = Setup(
        sources=[_node(survey.source)],
        targets=[_node(survey.target)],
        job=survey.job,
        method=options["method"],
        clock=Clock(survey.source.knows((7, 0)), survey.shift_ms, wanted=not options["no_ttl"]),
        target_absolute=survey.target.knows((7, 0)),
        tolerance_ms=round(1000 * options["ttl_tolerance"]),
        quick=options["verify"] == "quick",
        on_conflict=options["on_conflict"],
        atomic=options["atomic"],
        lanes=lanes,
        most_lanes=max(lanes, MOST_LANES // workers),
        links=max(1, pool // options["workers"]),
        batch_keys=options["batch"],
        scan_count=options["scan_count"],
        measured=[server.side for server in (survey.source, survey.target) if server.endpoint.latency],
        retry_for_s=options["retry_for"],
        paced=bool(limits),
        unread_bytes=unread_bytes(survey.source.maxmemory, survey.source.used_memory),
        workers=workers,
        filters=survey.filters,
    )
    return Plan(
        survey=survey,
        databases=databases,
        workers=workers,
        lanes=lanes,
        setup=setup,
        warnings=warnings_of(survey, databases, options["on_conflict"]) + _warnings_of_settings(survey, options),
        silence_s=options["silence_s"],
        put_aside=options["put_aside"] or "",
        settings=_settings(survey, options),
        limits=limits,
        again=again,
        limit=options["limit"],
        keys_from=options["keys_from"] or "",
        filter_lines=filter_lines(options, survey.filters),
    )


def _plan_database(survey: Survey, db: int, target_db: int, lanes: int, options: dict[str, Any]) -> DatabasePlan:
    keys, wanted = survey.sizes[db], options["ranges"]
    by_name = _by_name(options)
    known = survey.source.databases.get(db, Database(keys, 0))
    probed = db in survey.opaque
    opaque = survey.opaque.get(db, "")
    if opaque or by_name:
        cuts = []
    elif probed or wanted:
        cuts = ranges.cut(keys, lanes, wanted)
    else:
        cuts = [(0, RING)]
    target_keys = survey.target_sizes.get(target_db, 0)
    probed = probed or bool(wanted)
    return DatabasePlan(db, target_db, keys, known.expiring, target_keys, cuts, opaque, probed, by_name)


def _by_name(options: dict[str, Any]) -> str:
    """Where the names of keys come from, in a few words; '' where ranges are scanned."""
    if options["keys_from"]:
        return "names from stdin" if options["keys_from"] == "-" else "names from a file"
    return "" if options["limit"] is None else "one scanner, for --limit"


def _settings(survey: Survey, options: dict[str, Any]) -> list[Wanted]:
    """What is asked of the source, also where it has that value: it may be another run's, which ends before ours."""
    if not options["source_rdbcompression"] or not survey.rdbcompression:
        return []
    value = RDBCOMPRESSION_VALUES[options["source_rdbcompression"]]
    return [Wanted(survey.source.run_id, RDBCOMPRESSION, value)]


def _warnings_of_settings(survey: Survey, options: dict[str, Any]) -> list[str]:
    if not options["source_rdbcompression"] or survey.rdbcompression:
        return []
    return ["source does not tell its rdbcompression (CONFIG GET is refused): it stays as it is"]


def _node(server: Server) -> Node:
    source = server.side == "source"
    return Node(server.endpoint, server.run_id, server.replid, server.knows((7, 2)), server.max_value_bytes, source)


def refuse_same_database(survey: Survey, pairs: list[tuple[int, int]]) -> None:
    """A database copied onto itself would be at best useless; raises RefusedError."""
    source, target = survey.source, survey.target
    same = source.run_id == target.run_id if source.run_id else source.endpoint.address == target.endpoint.address
    for db, target_db in pairs:
        if same and db == target_db:
            raise RefusedError(
                f"source and target are the same database: {source.endpoint.address} db {db}",
                hint="name two servers, or two databases of one (-n)",
            )


def refuse_keys_at_the_target(survey: Survey) -> None:
    """For those who want to be sure that they write into empty databases; raises RefusedError."""
    held = [f"db {db} holds {plural(keys, 'key')}" for db, keys in survey.target_sizes.items() if keys]
    if held:
        raise RefusedError(
            f"not empty: {', '.join(held)}",
            side="target",
            address=survey.target.endpoint.address,
            hint="empty it, or leave --require-empty out: --on-conflict says what becomes of its keys",
        )


def choose_databases(options: dict[str, Any], source_db: int | None, target_db: int | None, held: list[int]) -> list:
    """The pairs (source db, target db) that the options ask for; `held` are the databases that hold keys."""
    chosen: list[int] | str | None = options["dbs"]
    mapped: dict[int, int] | None = options["db_map"]
    if chosen is None and mapped is None:
        return [(source_db or 0, target_db or 0)]
    if chosen == "all":
        names = held
    elif chosen is not None:
        names = list(chosen)  # type: ignore[arg-type]
    else:
        names = list(mapped or {})
    pairs = [(db, (mapped or {}).get(db, db)) for db in names]
    targets = [target for _, target in pairs]
    twice = next((db for db in targets if targets.count(db) > 1), None)
    if twice is not None and not options["merge_dbs"]:
        raise UsageError(f"two databases would go into database {twice}", hint="--merge-dbs allows it")
    return pairs


def warnings_of(survey: Survey, databases: list[DatabasePlan], on_conflict: str) -> list[str]:
    """What the user should know before the first key is written."""
    source, target = survey.source, survey.target
    found = []
    for part in databases:
        if part.target_keys:
            held = plural(part.target_keys, "key")
            found.append(f"target db {part.target_db} holds {held}: {EXISTING[on_conflict]}")
    for server in (source, target):
        if server.maxmemory and server.policy.startswith(EVICTING):
            found.append(f"{server.side} may evict keys: maxmemory-policy {server.policy}")
    if target.maxmemory and target.maxmemory < source.used_memory:
        found.append(f"target's maxmemory {target.maxmemory:,} bytes is below the source's used memory")
    if abs(survey.shift_ms) >= SKEW_WARNING_MS:
        ahead = "ahead of" if survey.shift_ms > 0 else "behind"
        found.append(f"target's clock is {abs(survey.shift_ms) / 1000:.1f} s {ahead} the source's: expiries follow it")
    if 0 < target.max_databases < source.max_databases:
        found.append(f"target has {target.max_databases} databases, source {source.max_databases}")
    return found
