"""What travels between the coordinator and a worker, as msgpack: tasks and orders go down, reports come up.

No value ever travels here: only positions, counters, names of keys that need attention, and errors.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgpack

from . import endpoint
from .cursor import RING
from .endpoint import Endpoint
from .expiry import Clock
from .filters import Filters
from .finding import Finding
from .pace import Share
from .slots import Range

#: What a task asks for: where its keys come from. What is done about the keys is its `work`.
COPY_RANGE = "range"  # scan [start, end) of a database
COPY_KEYS = "keys"  # the keys named
LIST_KEYS = "list"  # scan a whole database and hand its keys up in batches
SIFT_KEYS = "sift"  # hand up those of the keys named that pass the filters
GENERATE = "generate"  # write one run of blocks of a synthetic data set
CHURN = "churn"  # keep changing a synthetic data set
LIVE_KEYS = "live"  # write the keys named as they are now, or remove them
STREAMS = "streams"  # hand up the streams of a database
#: Kinds that read from no source.
SOURCELESS = (GENERATE, CHURN)

#: What is done about keys.
COPY = "copy"  # write them to the target
COMPARE = "compare"  # find out whether the target's are equal
LOOK_UP = "look up"  # the keys are the target's: find those that the source does not have
RECHECK = "recheck"  # look again at keys that seemed to be at the target only
PRUNE = "prune"  # the same, and remove those that are


Scope = tuple[int, int]  # one database of one source node: the node's number, the database's number


@dataclass
class Task:
    """A piece of work: which keys of which database, and where they go."""

    id: int
    kind: str
    node: int = 0  # index into Setup.sources
    db: int = 0
    target_db: int = 0
    start: int = 0  # COPY_RANGE: positions in [0, RING]; GENERATE: numbers of blocks; CHURN: ms
    end: int = RING
    keys: list[bytes] = field(default_factory=list)
    db_keys: int = 0  # DBSIZE when planned: how dense the ring is
    sifted: bool = False  # COPY_KEYS: they have passed the filters
    by_slot: bool = False  # cursors go by slot: see cursor.py
    checked: bool = True  # verify on each reply that cursors are ring positions
    counted: bool = True  # COPY_KEYS: False where another task counts these keys
    no_expiries: bool = False  # no key of the database had an expiry when planned
    no_field_expiries: bool = False  # COMPARE: nor had a field of a hash, on either side
    raw: bool = False  # COPY_KEYS: these keys have been through no SCAN that filters
    own: bool = False  # keys that exist at the target may have been written by this run
    work: str = COPY

    @property
    def scanned_db(self) -> int:
        """The database that the keys are taken from."""
        return self.target_db if self.work == LOOK_UP else self.db

    @property
    def scope(self) -> Scope:
        """Which database of which source node."""
        return self.node, self.db

    def pack(self) -> dict[str, Any]:
        """A map for msgpack; RING does not fit its 64 bits, so `end` travels less one."""
        return self.__dict__ | {"end": self.end - 1}

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Task:
        """The task that `pack` described."""
        return cls(**packed | {"end": packed["end"] + 1})


@dataclass
class Counts:
    """Outcomes of distinct keys, and what they cost.

    They add up: read = copied + expired + aside + skipped + doubtful.
    """

    copied: int = 0  # COMPARE: equal; LOOK_UP: at the source, too
    expired: int = 0  # gone between SCAN and read, or in their last millisecond
    aside: int = 0
    bytes: int = 0  # of values, as they were read
    retried: int = 0  # windows that were sent again
    again: int = 0  # keys that came twice and are counted elsewhere
    idle: int = 0  # CHURN: operations that had nothing to change
    skipped: int = 0  # read, but left out by a filter; or existing at the target, and left as they are
    doubtful: int = 0  # COMPARE, LOOK_UP, RECHECK: a finding tells of the key

    @property
    def read(self) -> int:
        """Distinct keys that have an outcome."""
        return self.copied + self.expired + self.aside + self.skipped + self.doubtful

    @property
    def worked(self) -> int:
        """Those whose values were read to the end."""
        return self.copied + self.doubtful

    def add(self, other: Counts) -> None:
        """Add another's figures to these."""
        self.copied += other.copied
        self.expired += other.expired
        self.aside += other.aside
        self.bytes += other.bytes
        self.retried += other.retried
        self.again += other.again
        self.idle += other.idle
        self.skipped += other.skipped
        self.doubtful += other.doubtful

    def pack(self) -> list[int]:
        """The figures in the order of the fields."""
        return [
            self.copied,
            self.expired,
            self.aside,
            self.bytes,
            self.retried,
            self.again,
            self.idle,
            self.skipped,
            self.doubtful,
        ]


@dataclass(frozen=True)
class Aside:
    """One key that could not be copied, and why."""

    key: bytes
    db: int
    type: str
    size: int  # bytes of the value as read; 0 where it was not read
    reason: str

    def pack(self) -> list[Any]:
        """The record in the order of the fields."""
        return [self.key, self.db, self.type, self.size, self.reason]


@dataclass
class Progress:
    """One task's news: what lies below `position` is acknowledged, and these are its outcomes."""

    task: int
    position: int  # as Task.start: where the task would have to begin again
    counts: Counts
    asides: list[Aside] = field(default_factory=list)
    finished: bool = False
    opaque: str = ""  # why this server's cursors cannot be split; the task has stopped
    # LIST_KEYS and SIFT_KEYS: a batch of keys; COPY_RANGE: those that are put off
    listed: list[bytes] | None = None
    findings: list[Finding] = field(default_factory=list)
    left: list[bytes] = field(default_factory=list)  # LIVE_KEYS: gone at the source, still at the target
    slow: list[list[Any]] = field(default_factory=list)  # LIVE_KEYS: [key, seconds that its copy took]

    def pack(self) -> list[Any]:
        """A list for msgpack; a position of RING does not fit its 64 bits, so it travels as -1."""
        position = -1 if self.position == RING else self.position
        asides = [aside.pack() for aside in self.asides]
        findings = [finding.pack() for finding in self.findings]
        told = [self.task, position, self.counts.pack(), asides, self.finished, self.opaque, self.listed, findings]
        return [*told, self.left, self.slow]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Progress:
        """The news that `pack` described."""
        task, position, counts, asides, finished, opaque, listed, findings, left, slow = packed
        position = RING if position == -1 else position
        asides = [Aside(*aside) for aside in asides]
        news = cls(task, position, Counts(*counts), asides, finished, opaque, listed, left=left, slow=slow)
        news.findings = [Finding.unpack(finding) for finding in findings]
        return news


@dataclass
class Report:
    """What a worker says: at least twice a second, so that silence means something."""

    progress: list[Progress] = field(default_factory=list)
    free: int = 0  # lanes that wait for a task
    waiting: str = ""  # why it is slow: 'target out of memory', …
    held_by: str = ""  # the limit that its windows wait for: 'keys', 'bytes'
    cpu_s: float = 0.0  # processor time of this process so far
    latencies: list[list[Any]] = field(default_factory=list)  # [side, command, times in µs]: `latency.Latencies`
    clients: list[list[Any]] = field(default_factory=list)  # [side, node, CLIENT ID] of new connections
    failure: dict[str, str] | None = None  # KeyferryError.pack: the run cannot go on
    down: list[list[str]] = field(default_factory=list)  # [side, address, reason] of connections lost and not back
    unfenced: str = ""  # a connection that was given up could not be killed: the server's words
    sent: int = 0  # commands to the target until `made_at`; both only with --live
    made_at: float = 0.0  # time.monotonic, which is one clock for all processes of a machine
    passed: list[list] = field(default_factory=list)  # barriers: `barrier.Windows.take`
    closed: list[int] = field(default_factory=list)  # windows that had left a barrier
    drained: bool = False  # every window is acknowledged and no task is left

    def pack(self) -> bytes:
        """The report as msgpack."""
        packed = {f.name: getattr(self, f.name) for f in fields(self)}
        packed["progress"] = [news.pack() for news in self.progress]
        return msgpack.packb(packed)

    @classmethod
    def unpack(cls, data: bytes) -> Report:
        """The report that `pack` made."""
        packed = msgpack.unpackb(data)
        return cls(**packed | {"progress": [Progress.unpack(news) for news in packed["progress"]]})


@dataclass
class Order:
    """What the coordinator says to a worker; every field may be left out."""

    tasks: list[Task] = field(default_factory=list)
    shifts: list[list[int]] | None = None  # Setup.shifts, measured again
    credit: int = 0  # LIST_KEYS, STREAMS: so many more batches may come up
    barrier: int = 0  # its number: tell when every window that is open now is closed
    removes: list[int] | None = None  # Setup.removes from now on
    share: Share | None = None  # of the limits of the run, from now on
    unread_bytes: list[int] | None = None  # Setup.unread_bytes from now on
    drain: bool = False  # open nothing more, finish what is open
    quit: bool = False

    def pack(self) -> bytes:
        """The order as msgpack."""
        packed = self.__dict__ | {"tasks": [task.pack() for task in self.tasks]}
        return msgpack.packb(packed | {"share": self.share.pack() if self.share else None})

    @classmethod
    def unpack(cls, data: bytes) -> Order:
        """The order that `pack` made."""
        packed = msgpack.unpackb(data)
        share = Share(**packed["share"]) if packed["share"] else None
        return cls(**packed | {"tasks": [Task.unpack(task) for task in packed["tasks"]], "share": share})


@dataclass
class Node:
    """One server process as the coordinator found it; connections check that they reach the same one."""

    endpoint: Endpoint
    run_id: str = ""  # "" = the server, or a proxy, does not tell
    replid: str = ""  # master_replid, likewise
    no_touch: bool = False  # CLIENT NO-TOUCH is known there, and safe
    max_value_bytes: int = 512 << 20  # the longest argument that it takes
    announced: str = ""  # host:port, as its cluster tells it
    slots: list[Range] = field(default_factory=list)  # that it owns in its cluster, as first and last; [] = no cluster
    read: bool = False  # values are read from it, which must not make them look used
    replica: bool = False  # it is a replica in a cluster, which reads its keys only to those who say READONLY
    fields_may_expire: bool = True  # its version knows fields of hashes that expire

    def pack(self) -> dict[str, Any]:
        """A map for msgpack."""
        return asdict(self)

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Node:
        """The node that `pack` described."""
        slots = [(first, last) for first, last in packed["slots"]]
        return cls(**packed | {"endpoint": endpoint.unpack(packed["endpoint"]), "slots": slots})


@dataclass
class Setup:
    """What holds for the whole run: sent once, before the first order."""

    sources: list[Node]
    targets: list[Node]
    job: str = ""
    epoch: int = 0  # counts the workers of a job: names their connections
    method: str = "auto"
    clock: Clock = Clock(absolute=True)
    target_absolute: bool = True  # the target, too, tells absolute expiries: for comparisons
    tolerance_ms: int = 0  # expiries that are no further apart count as equal
    quick: bool = False  # comparisons look at sizes, not at values
    named: bool = False  # keys to be compared were named by the user: the target may have one that the source has not
    lanes: int = 8  # tasks at a time, at least …
    most_lanes: int = 8  # … and at most
    links: int = 4  # databases at a time: each takes a connection a side
    on_conflict: str = "replace"  # what is done about keys that exist: replace, skip, fail
    atomic: bool = False  # read values and expiries in transactions
    batch_keys: int = 1000  # at most so many keys in a window
    scan_count: int = 500
    retry_for_s: float = 300.0
    measured: list[str] = field(default_factory=list)  # sides whose requests are timed
    paced: bool = False  # there are limits: nothing is read before an order has told the share
    shifts: list[list[int]] = field(default_factory=list)  # [source][target]: ms by which the target's clock is ahead
    unread_bytes: list[int] = field(default_factory=lambda: [64 << 20])  # that replies may take at each source node
    workers: int = 1  # how many share that
    filters: Filters = Filters()
    live: bool = False  # barriers will come
    removes: list[int] = field(default_factory=list)  # target databases where LIVE_KEYS may remove keys
    synth: dict[str, Any] | None = None  # GENERATE and CHURN: synth.Spec.pack
    churn: dict[str, Any] | None = None  # CHURN: churn.Churn.pack

    def pack(self) -> bytes:
        """The setup as msgpack."""
        packed = self.__dict__ | {"clock": asdict(self.clock), "filters": asdict(self.filters)}
        packed |= {"sources": [n.pack() for n in self.sources], "targets": [n.pack() for n in self.targets]}
        return msgpack.packb(packed)

    @classmethod
    def unpack(cls, data: bytes) -> Setup:
        """The setup that `pack` made."""
        packed = msgpack.unpackb(data)
        packed["clock"], packed["filters"] = Clock(**packed["clock"]), Filters(**packed["filters"])
        packed["sources"] = [Node.unpack(node) for node in packed["sources"]]
        packed["targets"] = [Node.unpack(node) for node in packed["targets"]]
        return cls(**packed)
