"""The plan of a run, and the survey that it was made from: what both sides are, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .limits import Limits
from .partitioners.ranges import Cut, in_turn
from .partitioners.server import Server
from .partitioners.slots import density
from .permissions import Permissions
from .text import plural
from .undo import Wanted
from .workers.filters import Filters
from .workers.setup import Setup
from .workers.task import COPY_RANGE, LIST_KEYS, Scope, Task

#: A rule of thumb for estimates: what one machine copies over a near network.
KEYS_A_SECOND, BYTES_A_SECOND = 250_000, 200_000_000


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
    def ranges(self) -> list[Cut]:
        """The cuts, in the order in which they are handed out."""
        return self.cuts if self.by_slot else in_turn(self.cuts)

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
    def changes(self) -> list[tuple[int, Wanted]]:
        """Those of the settings that are this run's own doing."""
        return [(number, wanted) for number, wanted in self.settings if not wanted.joins]

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
            for start, end, keys in part.ranges
        ]


def _shuffled(piles: list[list[Task]]) -> list[Task]:
    """One list of tasks, evenly of each node from the first to the last: so all nodes have work at all times."""
    order = [((number + 0.5) / len(pile), task) for pile in piles for number, task in enumerate(pile)]
    return [task for _, task in sorted(order, key=lambda pair: pair[0])]
