"""What a user must be allowed for `keyferry generate`: the commands of each type, and of each operation of --churn.

HOW IT WORKS
The rows are like those of a copy (`rights.py`). Their key is a name of our own below the prefix of the data set. Most
probes have arguments that the server refuses once it has let the command through. Those of `CREATING` cannot be refused
for their arguments: they are tried last, and only where what they have made can be removed at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .rights import KEY, TARGET, Right, Words

#: Commands with probes that make a key.
CREATING: Mapping[str, Words] = {"RPUSH": (KEY, "x"), "SADD": (KEY, "x"), "PFADD": (KEY, "x")}
_PROBES: Mapping[str, Words] = {
    "MSET": (KEY, "value", KEY),
    "SET": (KEY, "value", "PXAT", "never"),
    "UNLINK": (KEY,),
    "PEXPIREAT": (KEY, 1),
    "SETBIT": (KEY, 0, 2),
    "SETRANGE": (KEY, -1, "x"),
    "HSET": (KEY, "field", "value", "field"),
    "ZADD": (KEY, "none", "member"),
    "GEOADD": (KEY, 0, "none", "member"),
    "XADD": (KEY, "none", "field", "value"),
    "XCLAIM": (KEY, "group", "consumer", 0, "0-1"),
    "XGROUP CREATE": (KEY, "group", 0),
    "XGROUP CREATECONSUMER": (KEY, "group", "consumer"),
    "PSETEX": (KEY, "never", "value"),
    "INCRBY": (KEY, "none"),
    "LTRIM": (KEY, 0, -1),
    "SREM": (KEY, "member"),
    "XREADGROUP": ("GROUP", "group", "consumer", "STREAMS", KEY, ">"),
    "XAUTOCLAIM": (KEY, "group", "consumer", 0, "0-0"),
    "XGROUP SETID": (KEY, "group", 0),
    "XGROUP DELCONSUMER": (KEY, "group", "consumer"),
    "DEL": (KEY,),
    "PEXPIRE": (KEY, 1),
    "PERSIST": (KEY,),
    "RENAME": (KEY, KEY),
    "EVAL": ("return 0", 0),
    "FLUSHDB": ("none",),
    **CREATING,
}
#: What writes each type, besides what removes and expires keys that are no strings.
OF_TYPES: Mapping[str, tuple[str, ...]] = {
    "string": ("MSET", "SET"),
    "counter": ("MSET", "SET"),
    "bitmap": ("SETRANGE", "SETBIT"),
    "hyperloglog": ("PFADD",),
    "hash": ("HSET",),
    "list": ("RPUSH",),
    "set": ("SADD",),
    "zset": ("ZADD",),
    "geo": ("GEOADD",),
    "stream": ("XADD", "XGROUP CREATE", "XGROUP CREATECONSUMER", "XCLAIM"),
}
#: What each operation sends whatever the types; those of `_GROWING` also send what lets a key of its type grow.
OF_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "set": ("SET",),
    "setex": ("PSETEX",),
    "incr": ("INCRBY",),
    "grow": (),
    "hset": ("HSET",),
    "xadd": ("XADD",),
    "group": ("XGROUP CREATE", "XREADGROUP", "XAUTOCLAIM", "XGROUP SETID", "XGROUP DELCONSUMER"),
    "del": ("DEL",),
    "expire": ("PEXPIRE",),
    "persist": ("PERSIST",),
    "rename": ("RENAME",),
    "multi": ("MULTI", "EXEC", "SET", "PEXPIRE", "DEL"),
    "lua": ("EVAL", "SET", "PEXPIRE", "PERSIST"),
    "flushdb": ("FLUSHDB",),
}
_GROWING = ("grow", "multi")
_GROWTH: Mapping[str, tuple[str, ...]] = {
    "bitmap": ("SETRANGE",),
    "hyperloglog": ("PFADD",),
    "hash": ("HSET",),
    "list": ("RPUSH", "LTRIM"),
    "set": ("SADD", "SREM"),
    "zset": ("ZADD",),
    "geo": ("GEOADD",),
    "stream": ("XADD",),
}
_STRINGS = ("string", "counter")


def rights_of_generate(
    types: Mapping[str, Any], operations: Mapping[str, Any], flush: bool, writes: bool, selects: bool
) -> list[Right]:
    """The rows for a data set of these types: it is written if it `writes`, and changed by these operations."""
    commands = ["PING", "DBSIZE", "TIME", *(["SELECT"] if selects else []), *(["FLUSHDB"] if flush else [])]
    if writes:
        commands += [command for name in types for command in OF_TYPES[name]]
        commands += ["UNLINK", "PEXPIREAT"] if set(types) - set(_STRINGS) else []
    for name in operations:
        strings = not set(types).isdisjoint(_STRINGS)
        commands += [command for command in OF_OPERATIONS[name] if command != "SET" or strings]
        if name in _GROWING:
            commands += [command for kind in types for command in _GROWTH.get(kind, ())]
    if set(commands) & CREATING.keys():
        commands.append("UNLINK")  # of what their probes have made
    return [_right(command) for command in dict.fromkeys(commands)]


def _right(command: str) -> Right:
    return Right(command, TARGET, (0,) if command == "SELECT" else _PROBES.get(command, ()), writes=True)
