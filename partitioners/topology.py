"""What a server is: product, version, identity, databases, memory, limits, clock. Reads only."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..workers.endpoint import Endpoint
from ..workers.errors import AccessError, RefusedError, StateError
from ..workers.expiry import time_ms
from ..workers.policy import Action, rule_for
from ..workers.resp import info_fields
from ..workers.slots import Range
from . import cluster
from .control import Control, ReplyError
from .replicas import Standing

#: What servers take as one argument unless told otherwise (proto-max-bulk-len).
DEFAULT_MAX_VALUE_BYTES = 512 << 20
#: Fields of INFO by which servers that only speak the protocol say who they are, and their names. What they call
#: redis_version is the version of Redis whose commands they claim to have: Kvrocks says 4.0.0, whatever it is itself.
FOREIGN = {
    "dragonfly_version": "Dragonfly",
    "kvrocks_version": "Kvrocks",
    "garnet_version": "Garnet",
    "upstash_version": "Upstash",
    "keydb_version": "KeyDB",
}
#: The same for servers that were Redis once, and are probed like it.
DESCENDANTS = {"valkey_version": "Valkey", "redict_version": "Redict", "mvcc_depth": "KeyDB"}
#: Fields of INFO that count fields of hashes which have expired: Redis 7.4 and Valkey 9.
EXPIRED_FIELDS = ("expired_subkeys", "expired_fields")
#: Since when fields of hashes may expire, in versions of products that count them by themselves.
FIELDS_EXPIRE_SINCE = {"Redis": (7, 4), "Valkey": (9,)}
#: So many databases are asked about where a server tells neither which hold keys nor how many there are; it refuses
#: the first that it does not have.
ASKED_DATABASES = 64
#: A state that may pass is looked at again after so long.
STATE_PAUSE_S = 0.2


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


#: A line of INFO for each module; these come with the server.
_MODULE = re.compile(rb"^module:name=([^,\r]+)", re.MULTILINE)
BUILT_IN = frozenset({"lua", "vectorset"})


def describe(control: Control) -> Server:
    """Ask a server what it is; raises AccessError where it does not let us."""
    reply = control.call("INFO")
    if isinstance(reply, ReplyError):
        rule = rule_for(reply)
        if rule.action is not Action.STOP or "login" in rule.reason:
            raise control.refused("INFO refused", reply)
        reply = b""
    info = info_fields(reply)
    if not {"redis_version", "valkey_version"} & info.keys():
        info = _by_hello(control) | info
    foreign = next((name for name in FOREIGN if name in info), "")
    descendant = next((name for field, name in DESCENDANTS.items() if field in info), "Redis")
    return Server(
        endpoint=control.endpoint,
        side=control.side,
        product=FOREIGN.get(foreign, descendant),
        own_version=info.get(foreign, ""),
        version=info.get("valkey_version") or info.get("redis_version", ""),
        run_id=info.get("run_id", ""),
        replid=info.get("master_replid", ""),
        mode=_mode(control, info),
        role=info.get("role", "master"),
        foreign=bool(foreign),
        databases=_databases(info) if b"# Keyspace" in reply else _databases_by_asking(control),
        max_databases=_max_databases(control, info),
        used_memory=int(info.get("used_memory", 0)),
        dataset_bytes=int(info.get("used_memory_dataset", 0)),
        maxmemory=int(info.get("maxmemory", 0)),
        policy=info.get("maxmemory_policy", ""),
        evicted_keys=int(info.get("evicted_keys", 0)),
        expired_keys=_expired(info),
        changes=int(info.get("rdb_changes_since_last_save", -1)),
        saved_at=int(info.get("rdb_last_save_time", -1)),
        saving=info.get("rdb_bgsave_in_progress", "0") != "0",
        time_s=int(info.get("server_time_usec", -1)) // 1_000_000,
        max_value_bytes=int(setting(control, "proto-max-bulk-len") or DEFAULT_MAX_VALUE_BYTES),
        cpu_s=float(info.get("used_cpu_user", 0)) + float(info.get("used_cpu_sys", 0)),
        modules=frozenset(name.decode("ascii", "replace") for name in _MODULE.findall(reply)) - BUILT_IN,
    )


def _expired(info: dict[str, str]) -> int:
    """A hash whose last field has expired is gone as well, and is counted by its fields."""
    if "expired_keys" not in info:
        return -1
    return sum(int(info.get(name, 0)) for name in ("expired_keys", *EXPIRED_FIELDS))


def _databases_by_asking(control: Control) -> dict[int, Database]:
    """Where INFO does not tell which databases hold keys: each is selected. How many of them expire, nobody knows."""
    most = int(setting(control, "databases") or ASKED_DATABASES)
    found = {}
    for db in range(most):
        size = control.call("DBSIZE") if control.select(db) == b"OK" else None
        if not isinstance(size, int):
            break
        if size:
            found[db] = Database(size, size)
    control.select(0)
    return found


def _by_hello(control: Control) -> dict[str, str]:
    """What HELLO tells, by the names of INFO. Every user may say it, and nothing changes: the protocol stays RESP2."""
    reply = control.call("HELLO")
    if not isinstance(reply, list):
        return {}
    said = {name: value.decode() for name, value in zip(reply[::2], reply[1::2]) if isinstance(value, bytes)}
    product = "valkey_version" if said.get(b"server") == "valkey" else "redis_version"
    names = {b"version": product, b"mode": "redis_mode", b"role": "role"}
    return {ours: said[theirs] for theirs, ours in names.items() if theirs in said}


def _mode(control: Control, info: dict[str, str]) -> str:
    """`standalone`, `cluster` or `sentinel`."""
    if "cluster_enabled" in info:
        return "cluster" if info["cluster_enabled"] == "1" else info.get("redis_mode", "standalone")
    if info.get("redis_mode", info.get("server_mode", "standalone")) != "standalone":
        return info.get("redis_mode", info.get("server_mode", ""))
    return "cluster" if cluster.is_cluster(control) else "standalone"


def _max_databases(control: Control, info: dict[str, str]) -> int:
    """How many databases there may be; 0 where it is not told. A cluster has one, unless its setting says more."""
    if info.get("cluster_enabled") == "1":
        return int(setting(control, "cluster-databases") or 1)
    return int(setting(control, "databases") or 0)


def identity(control: Control) -> tuple[str, str]:
    """run_id and master_replid of the process that answers now; "" where it does not tell."""
    found: dict[str, str] = {}
    for section in ("server", "replication"):
        reply = control.call("INFO", section)
        found |= info_fields(reply) if isinstance(reply, bytes) else {}
    return found.get("run_id", ""), found.get("master_replid", "")


def _databases(info: dict[str, str]) -> dict[int, Database]:
    found = {}
    for name, text in info.items():
        if match := re.fullmatch(r"db(\d+)", name):
            figures = dict(part.split("=") for part in text.split(","))
            fields = int(figures.get("subexpiry", figures.get("keys_with_volatile_items", -1)))
            found[int(match[1])] = Database(int(figures["keys"]), int(figures.get("expires", 0)), fields)
    return found


def setting(control: Control, name: str) -> str:
    """A setting of the server, or '' where it does not tell (managed services forbid CONFIG)."""
    reply = control.call("CONFIG", "GET", name)
    return reply[1].decode() if isinstance(reply, list) and len(reply) == 2 else ""


def wait_until_it_serves(control: Control, wait_for_s: float, say: object) -> None:
    """Wait while the server is LOADING or BUSY; `say(text)` tells why. Raises StateError when it takes too long."""
    begin = time.monotonic()
    said = False
    while True:
        reply = control.call("DBSIZE")
        rule = rule_for(reply) if isinstance(reply, ReplyError) else None
        if rule is None or rule.action is not Action.WAIT:
            return
        if time.monotonic() - begin > wait_for_s:
            raise StateError(
                f"{rule.reason} for longer than {wait_for_s:g} s",
                side=control.side,
                address=control.endpoint.address,
                hint="--wait-for waits longer",
            )
        if not said:
            say(f"waiting: {control.side} {control.endpoint.address} is {rule.reason}")  # type: ignore[operator]
            said = True
        time.sleep(STATE_PAUSE_S)


def refuse_no_cluster(server: Server) -> None:
    """Raise RefusedError for a server that its user takes for a cluster's node, and that is none."""
    if server.endpoint.cluster and not server.clustered:
        raise RefusedError(
            f"no cluster, as -c says, but a {server.mode} {server.role}",
            side=server.side,
            address=server.endpoint.address,
            hint="leave -c out: a cluster is known when it is met",
        )


def refuse_what_we_cannot_copy(server: Server, writes: bool = True) -> None:
    """Raise for a server that does not hold data, or that takes no writes if it is to be written to."""
    address = server.endpoint.address
    if server.mode not in ("standalone", "cluster"):
        text = f"this is a {server.mode} node: it holds no data"
        hint = "name a server that holds the data"
        if server.mode == "sentinel":
            hint = f"name the service: redis+sentinel://{address}/SERVICE"
        raise RefusedError(text, side=server.side, address=address, hint=hint)
    if writes and server.side == "target" and server.role != "master":
        raise StateError("read only: a replica", side="target", address=address, hint="name its master")


def database_size(control: Control, db: int) -> int:
    """DBSIZE of a database; raises AccessError where it is refused."""
    reply = control.select(db)
    size = control.call("DBSIZE") if reply == b"OK" else reply
    if isinstance(size, ReplyError):
        raise control.refused(f"database {db}", size)
    return int(size)


Bounds = tuple[float, float]  # ms: how far a server's clock is ahead of our monotonic one, at least and at most


def clock_of(control: Control) -> Bounds:
    """A server's clock. Each TIME reply lies between our two readings of the monotonic clock around it."""
    found = [_clock_bounds(control) for _ in range(3)]
    return max(low for low, _ in found), min(high for _, high in found)


def clock_shift_ms(source: Bounds, target: Bounds) -> int:
    """How far the target's clock is ahead of the source's, in ms; 0 unless that is proved.

    The two bounds of each clock bound their difference from both sides; as long as 0 is within, the clocks may be
    equal, and expiries are carried over unchanged to the millisecond.
    """
    low, high = target[0] - source[1], target[1] - source[0]
    return 0 if low <= 0 <= high else round((low + high) / 2)


def clock_shifts_ms(sources: Sequence[Control], targets: Sequence[Control]) -> list[list[int]]:
    """`clock_shift_ms` for each source node, to each target node. Raises AccessError."""
    ours, theirs = [clock_of(one) for one in sources], [clock_of(one) for one in targets]
    return [[clock_shift_ms(source, target) for target in theirs] for source in ours]


def _clock_bounds(control: Control) -> Bounds:
    before = time.monotonic() * 1000
    reply = control.call("TIME")
    after = time.monotonic() * 1000
    if isinstance(reply, ReplyError):
        raise AccessError(
            f"TIME refused: {reply}",
            side=control.side,
            address=control.endpoint.address,
            hint="the copy needs TIME to carry expiries over",
        )
    there = time_ms(reply)
    # TIME is cut down to whole milliseconds here, so the true value may be almost 1 ms later.
    return there - after, there + 1 - before
