"""What travels between the coordinator and the feed process, as msgpack: orders go down, reports come up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

import msgpack

from .dirty import Dirtied
from .filters import Filters
from .setup import Node

#: How changes are learned.
TRACKING, NOTIFICATIONS = "tracking", "notifications"
#: What notifications need: K for the channel with the key's name, and A, or all that it stands for.
FLAGS_OF_A = frozenset("g$lshzxet")


def enough_flags(flags: str) -> bool:
    """Whether notifications with these flags tell every change of a key, in the channel of its name."""
    return "K" in flags and ("A" in flags or set(flags) >= FLAGS_OF_A)


@dataclass
class FeedSetup:
    """What the feed listens to: sent once, before the first order."""

    sources: list[Node]  # the masters, or the replicas that values are read from
    dbs: list[int]  # databases in scope
    mode: str = TRACKING
    job: str = ""
    pattern: bytes = b"*"  # notifications: names that the servers tell of; tracking: its prefix without the star
    filters: Filters = Filters()  # names that do not pass are no changes
    every_db: bool = False  # a database that appears is in scope
    whole: bool = True  # every effective write at a source makes an event that is listened to
    flags_told: bool = True  # notifications: the servers tell their flags
    most_bytes: int = 256 << 20  # of names that wait
    retry_for_s: float = 300.0

    @property
    def channels(self) -> list[bytes]:
        """What notifications are subscribed to, as patterns."""
        heads = [b"*"] if self.every_db else [b"%d" % db for db in self.dbs]
        return [b"__keyspace@%b__:%b" % (head, self.pattern) for head in heads]

    def pack(self) -> bytes:
        """The setup as msgpack."""
        packed = self.__dict__ | {"filters": asdict(self.filters), "sources": [node.pack() for node in self.sources]}
        return msgpack.packb(packed)

    @classmethod
    def unpack(cls, data: bytes) -> FeedSetup:
        """The setup that `pack` made."""
        packed = msgpack.unpackb(data)
        packed["filters"] = Filters(**packed["filters"])
        packed["sources"] = [Node.unpack(node) for node in packed["sources"]]
        return cls(**packed)


@dataclass
class FeedOrder:
    """What the coordinator says to the feed."""

    ask: bool = False  # one report is wanted; it comes at once where there is something to tell
    take: int = 0  # names of so many bytes are welcome in it
    fence: int = 0  # number of a fence to be passed
    quit: bool = False

    def pack(self) -> bytes:
        """The order as msgpack."""
        return msgpack.packb(self.__dict__)

    @classmethod
    def unpack(cls, data: bytes) -> FeedOrder:
        """The order that `pack` made."""
        return cls(**msgpack.unpackb(data))


@dataclass
class FeedReport:
    """The answer to one `FeedOrder.ask`. Times are of the machine's monotonic clock, which processes share."""

    made_at: float = 0.0
    dirtied: list[Dirtied] = field(default_factory=list)
    confirmed: bool = False  # every source is listened to, and its counters are known
    events: int = 0  # in scope, since the feed began
    dirty: int = 0  # names that wait
    oldest: float = 0.0  # when the first of their events arrived, 0 where none waits
    gaps: list[str] = field(default_factory=list)  # why events may be lost
    fences: list[int] = field(default_factory=list)  # passed: every event of what was written before has arrived
    still_since: float = 0.0  # no source was written to since; 0: they are, or do not tell
    silent: int = -1  # calls of commands that change streams silently, at all sources; -1: not told
    removing: int = -1  # of these, those that may remove a key
    unread_bytes: int = 0  # of the sources' memory that events take which wait for us
    cpu_s: float = 0.0
    sizes: dict[int, int] | None = None  # keys by database, of all sources; None: not told
    failure: dict[str, str] | None = None  # KeyferryError.pack: the feed cannot go on
    down: list[list[str]] = field(default_factory=list)  # [side, address, reason] of connections lost and not back

    def pack(self) -> bytes:
        """The report as msgpack."""
        packed = {f.name: getattr(self, f.name) for f in fields(self)}
        packed["dirtied"] = [dirtied.pack() for dirtied in self.dirtied]
        packed["sizes"] = None if self.sizes is None else list(self.sizes.items())
        return msgpack.packb(packed)

    @classmethod
    def unpack(cls, data: bytes) -> FeedReport:
        """The report that `pack` made."""
        packed = msgpack.unpackb(data)
        packed["dirtied"] = [Dirtied(*dirtied) for dirtied in packed["dirtied"]]
        packed["sizes"] = None if packed["sizes"] is None else dict(packed["sizes"])
        return cls(**packed)
