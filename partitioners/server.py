"""A server, as it was when it was asked: who it is, what it holds, where it belongs. `topology.py` asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..workers.endpoint import Endpoint
from ..workers.slots import Range
from .replicas import Standing

#: What servers take as one argument unless told otherwise (proto-max-bulk-len).
DEFAULT_MAX_VALUE_BYTES = 512 << 20
#: Since when fields of hashes may expire, in versions of products that count them by themselves.
FIELDS_EXPIRE_SINCE = {"Redis": (7, 4), "Valkey": (9,)}


@dataclass(frozen=True)
class Database:
    """One numbered database: its keys, how many of them have an expiry, and how many are hashes with fields that do."""

    keys: int
    expiring: int
    of_expiring_fields: int = -1  # -1 = not told


@dataclass(frozen=True)
class Server:
    """One server process as it was when it was asked."""

    endpoint: Endpoint
    side: str
    product: str = "Redis"
    version: str = ""  # of a foreign server, that of Redis whose commands it has
    own_version: str = ""  # of a foreign server
    run_id: str = ""
    replid: str = ""  # master_replid
    mode: str = "standalone"
    role: str = "master"
    loading: bool = False  # its data, so that it serves nobody yet
    foreign: bool = False  # it only speaks the protocol
    databases: dict[int, Database] = field(default_factory=dict)  # those that hold keys
    max_databases: int = 0  # 0 = not told
    used_memory: int = 0
    dataset_bytes: int = 0
    maxmemory: int = 0  # 0 = no limit
    policy: str = ""
    evicted_keys: int = 0
    expired_keys: int = -1  # whose time was up, and at most those that lost their last field by that; -1 = not told
    changes: int = -1  # rdb_changes_since_last_save; -1 = not told
    saved_at: int = -1  # rdb_last_save_time, seconds; a save begins to count changes anew
    saving: bool = False
    time_s: int = -1  # its clock when it was asked; -1 = not told
    max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES
    cpu_s: float = 0.0
    slots: tuple[Range, ...] = ()  # that it owns in its cluster
    node_id: str = ""  # what its cluster calls it
    announced: str = ""  # host:port, as its cluster tells it
    replicas: tuple[Endpoint, ...] = ()
    standing: Standing | None = None  # of a replica that is read
    master: Endpoint | None = None  # … and where its master is
    lag_bytes: int = -1  # … and how far it was behind; -1 = not told
    modules: frozenset[str] = frozenset()  # that were loaded into it
    libraries: int = 0  # of functions

    @property
    def clustered(self) -> bool:
        """It is a node of a cluster."""
        return self.mode == "cluster"

    @property
    def name(self) -> str:
        """Product and version, as users know them."""
        return f"{self.product} {self.own_version or self.version}".strip()

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """The version as numbers that compare."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])

    def knows(self, redis_since: tuple[int, int]) -> bool:
        """Whether a command of Redis `redis_since` is there; Valkey, which began as Redis 7.2, is newer."""
        return self.product == "Valkey" or self.version_numbers >= redis_since

    @property
    def fields_may_expire(self) -> bool:
        """Whether hashes may have fields that expire; True where nobody knows, as of all other products."""
        since = FIELDS_EXPIRE_SINCE.get(self.product)
        return since is None or not self.version_numbers or self.version_numbers >= since

    @property
    def keys(self) -> int:
        """Keys of all databases."""
        return sum(database.keys for database in self.databases.values())
