"""Asking a server what it is: product, version, identity, databases, memory, limits. Reads only."""

from __future__ import annotations

import re
import time

from ..workers.errors import RefusedError, StateError
from ..workers.policy import Action, rule_for
from ..workers.resp import info_fields
from . import cluster
from .control import Control, ReplyError
from .server import DEFAULT_MAX_VALUE_BYTES, Database, Server

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
#: So many databases are asked about where a server tells neither which hold keys nor how many there are; it refuses
#: the first that it does not have.
ASKED_DATABASES = 64
#: A state that may pass is looked at again after so long.
STATE_PAUSE_S = 0.2


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
    if not isinstance(reply, bytes):
        raise control.unexpected("INFO", reply)
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
        loading=info.get("loading", "0") != "0",
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
        libraries=int(info.get("number_of_libraries", 0)),
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
    if not isinstance(size, int):
        raise control.unexpected("DBSIZE" if reply == b"OK" else "SELECT", size)
    return size
