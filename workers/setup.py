"""What the coordinator tells a worker, as msgpack: what holds for the whole run, once, and orders."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import msgpack

from . import endpoint
from .endpoint import Endpoint
from .expiry import Clock
from .filters import Filters
from .pace import Share
from .slots import Range
from .task import Task


@dataclass
class Order:
    """What the coordinator says to a worker; every field may be left out."""

    tasks: list[Task] = field(default_factory=list)
    shifts: list[list[int]] | None = None  # Setup.shifts, measured again
    credit: int = 0  # LIST_KEYS, LIST_TYPE: so many more batches may come up
    barrier: int = 0  # its number: tell when every window that is open now is closed
    removes: list[int] | None = None  # Setup.removes from now on …
    ours: list[int] | None = None  # … and Setup.ours
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
    ours: list[int] = field(default_factory=list)  # … and those that hold nothing but what the run has written
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
