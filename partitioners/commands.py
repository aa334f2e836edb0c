"""Which commands change no key by themselves: what a server says of its own, and what is known of any.

WHY BOTH
    A server knows its commands better than any list: those of its modules, and those that came with its version. But
    its user may be forbidden to ask, and what stands between us and it may not pass COMMAND on.

WHAT COUNTS AS HARMLESS
    reads, and what is about connections, channels, scripts, settings and the cluster. EXEC, EVAL and FCALL are, too:
    servers count the commands that they execute by themselves (seen on 6.2, 7.0, 8.2 and Valkey 9.1).

LIMITATIONS: a command that may write counts as one that does, even if it did not: SORT without STORE, say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .control import Control

#: Harmless commands of all servers up to Redis 8.2 and Valkey 9.1; those with subcommands, if all of them are.
HARMLESS = frozenset((
    # strings, bits, HyperLogLogs
    "get", "mget", "getbit", "getrange", "substr", "strlen", "bitcount", "bitpos", "bitfield_ro", "lcs", "stralgo",
    "pfcount", "pfselftest", "digest",
    # hashes, lists, sets, sorted sets, streams
    "hexists", "hget", "hgetall", "hkeys", "hlen", "hmget", "hrandfield", "hscan", "hstrlen", "hvals", "hexpiretime",
    "hpexpiretime", "hpttl", "httl", "lindex", "llen", "lpos", "lrange", "scard", "sdiff", "sinter", "sintercard",
    "sismember", "smembers", "smismember", "srandmember", "sscan", "sunion", "zcard", "zcount", "zdiff", "zinter",
    "zintercard", "zlexcount", "zmscore", "zrandmember", "zrange", "zrangebylex", "zrangebyscore", "zrank",
    "zrevrange", "zrevrangebylex", "zrevrangebyscore", "zrevrank", "zscan", "zscore", "zunion", "xinfo", "xlen",
    "xpending", "xrange", "xread", "xrevrange",
    # places and vectors
    "geodist", "geohash", "geopos", "georadius_ro", "georadiusbymember_ro", "geosearch", "vcard", "vdim", "vemb",
    "vgetattr", "vinfo", "vismember", "vlinks", "vrandmember", "vrange", "vsim",
    # keys
    "clusterscan", "dbsize", "dump", "exists", "expiretime", "keys", "object", "pexpiretime", "pttl", "randomkey",
    "scan", "sort_ro", "touch", "ttl", "type",
    # connections, transactions, channels
    "asking", "auth", "client", "discard", "echo", "exec", "hello", "multi", "ping", "quit", "readonly", "readwrite",
    "reset", "select", "unwatch", "watch", "psubscribe", "publish", "pubsub", "punsubscribe", "spublish",
    "ssubscribe", "subscribe", "sunsubscribe", "unsubscribe",
    # scripts: what they call is counted
    "eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "script",
    # watching and running a server, its replicas and its cluster
    "acl", "bgrewriteaof", "bgsave", "cluster", "command", "commandlog", "config", "debug", "failover", "info",
    "lastsave", "latency", "lolwut", "memory", "module", "monitor", "psync", "replconf", "replicaof", "role", "save",
    "sentinel", "shutdown", "slaveof", "slowlog", "sync", "time", "wait", "waitaof",
    # of a page that is asked for by HTTP; the second one is Host:
    "post", "host_",
))  # fmt: skip
#: Move keys from node to node of a cluster: nothing comes that was not there.
MOVING = frozenset(("migrate", "restore-asking"))


def is_harmless(name: str, told: frozenset[str]) -> bool:
    """Whether a command, as INFO commandstats names it ("xgroup|create"), changes no key; `told`: `harmless_at`."""
    return name in told or name.partition("|")[0] in HARMLESS


def harmless_at(control: Control) -> frozenset[str]:
    """What the server says of its own commands; nothing where it does not tell. Raises AccessError."""
    reply = control.call("COMMAND")
    told = _commands(reply) if isinstance(reply, list) else ()
    return frozenset(name for name, flags in told if _changes_nothing(flags))


def _changes_nothing(flags: set[bytes]) -> bool:
    """A server keeps account of which of its own commands write; modules have to say that theirs only read."""
    return b"readonly" in flags or not flags & {b"write", b"module"}


def _commands(entries: Iterable[Any]) -> Iterator[tuple[str, set[bytes]]]:
    """Names and flags of commands and, since 7.0, of their subcommands, which are named with them (`xinfo|stream`)."""
    for entry in entries:
        name, _, flags, *more = entry
        yield name.decode("ascii", "replace").lower(), set(flags)
        yield from _commands(more[6] if len(more) > 6 else ())
