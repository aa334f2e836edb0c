"""A task: a piece of work that a worker is given.

What travels between the coordinator and a worker is msgpack: the setup once, then orders with tasks down (`setup.py`),
reports up (`news.py`). No value ever travels there: only positions, counters, names of keys that need attention, and
errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .cursor import RING

#: What a task asks for: where its keys come from. What is done about the keys is its `work`.
COPY_RANGE = "range"  # scan [start, end) of a database
COPY_KEYS = "keys"  # the keys named
LIST_KEYS = "list"  # scan a whole database and hand its keys up in batches
SIFT_KEYS = "sift"  # hand up those of the keys named that pass the filters
GENERATE = "generate"  # write one run of blocks of a synthetic data set
CHURN = "churn"  # keep changing a synthetic data set
LIVE_KEYS = "live"  # write the keys named as they are now, or remove them
LIST_TYPE = "type"  # scan a whole database and hand up its keys of one type
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
    turn: int = 0  # SIFT_KEYS: its place among them
    type: str = ""  # LIST_TYPE: of the keys that are handed up
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
