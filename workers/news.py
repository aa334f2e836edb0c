"""What a worker tells the coordinator, as msgpack: outcomes, positions, what cannot be copied, how it fares."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import msgpack

from .cursor import RING
from .finding import Finding


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
    strays: int = 0  # COMPARE: of these, such as lie at a node of a cluster that does not own their slot

    @property
    def read(self) -> int:
        """Distinct keys that have an outcome."""
        return self.copied + self.expired + self.aside + self.skipped + self.doubtful

    @property
    def worked(self) -> int:
        """Those whose values were read to the end."""
        return self.copied + self.doubtful

    @property
    def tell_of_success(self) -> bool:
        """Whether anything went on, be it past keys left out; those that are put aside tell of trouble alone."""
        return self.read > self.aside or not self.aside

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
        self.strays += other.strays

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
            self.strays,
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
