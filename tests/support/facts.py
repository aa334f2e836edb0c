"""What a server says of its keys, as far as two equal servers must say the same. For compare.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .wire import Command, Connection, Refused, ServerError

#: Keys between two TIMEs on Redis 6.2: fewer make the interval of an expiry narrower.
TIMED = 50

#: An expiry that lies between two points in time, ms; None: the key has none.
Expiry = tuple[int, int] | None

#: A stream's state as XINFO STREAM FULL tells it: its groups and their consumers are maps by name.
Stream = dict[bytes, Any]


@dataclass(slots=True)
class Facts:
    """What is known of one key. `field_expiries` has only the fields of a hash that expire, with the time in ms."""

    type: bytes
    digest: bytes
    expiry: Expiry
    stream: Stream = field(default_factory=dict)
    field_expiries: dict[bytes, int] = field(default_factory=dict)


class Side:
    """Reads facts over one connection, by one thread at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tells_expiries = self._knows("PEXPIRETIME")
        self._expires_fields = self._knows("HPEXPIRETIME")

    def names(self) -> set[bytes]:
        """Every key of the database."""
        keys: set[bytes] = set()
        cursor: Any = 0
        while True:
            cursor, names = self._connection.must("SCAN", cursor, "COUNT", 5_000)
            keys.update(names)
            if int(cursor) == 0:
                return keys

    def facts(self, keys: list[bytes]) -> list[Facts]:
        """The facts of the keys, in order; a key that is gone has the type b'none'."""
        digests, *types = self._ask([("DEBUG", "DIGEST-VALUE", *keys), *(("TYPE", key) for key in keys)])
        expiries = self._exact_expiries(keys) if self._tells_expiries else self._estimated_expiries(keys)
        found = {key: Facts(*said) for key, *said in zip(keys, types, digests, expiries, strict=True)}
        self._add_streams({key: facts for key, facts in found.items() if facts.type == b"stream"})
        if self._expires_fields:
            self._add_field_expiries({key: facts for key, facts in found.items() if facts.type == b"hash"})
        return list(found.values())

    def scores(self, keys: list[bytes]) -> list[dict[bytes, float]]:
        """The members of sorted sets with their scores."""
        flats = self._ask([("ZRANGE", key, 0, -1, "WITHSCORES") for key in keys])
        return [dict(zip(flat[::2], map(float, flat[1::2]), strict=True)) for flat in flats]

    def _knows(self, command: str) -> bool:
        return self._connection.must("COMMAND", "INFO", command)[0] is not None

    def _ask(self, commands: list[Command], gone: str | None = None) -> list[Any]:
        """The replies; `gone`: the error that may be one."""
        replies = self._connection.pipeline(commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ServerError) and str(reply) != gone:
                raise Refused(f"{command[:2]!r}: {reply}")
        return replies

    def _exact_expiries(self, keys: list[bytes]) -> list[Expiry]:
        times = self._ask([("PEXPIRETIME", key) for key in keys])
        return [(time, time) if time >= 0 else None for time in times]

    def _estimated_expiries(self, keys: list[bytes]) -> list[Expiry]:
        """Redis 6.2: PTTL counts from its clock, which is read before and after them. Not in a transaction: a cluster
        has none of keys of several slots."""
        found: list[Expiry] = []
        for start in range(0, len(keys), TIMED):
            some = keys[start : start + TIMED]
            before, *left_ms, after = self._ask([("TIME",), *(("PTTL", key) for key in some), ("TIME",)])
            low, high = _milliseconds(before), _milliseconds(after)
            found += [(low + ttl, high + ttl) if ttl >= 0 else None for ttl in left_ms]
        return found

    def _add_streams(self, streams: dict[bytes, Facts]) -> None:
        """COUNT 0 gives all entries and all pending ones. One whose time has come since its type was told has none."""
        told = self._ask([("XINFO", "STREAM", key, "FULL", "COUNT", 0) for key in streams], gone="ERR no such key")
        for facts, state in zip(streams.values(), told, strict=True):
            facts.stream = {} if isinstance(state, ServerError) else _mapped(state)

    def _add_field_expiries(self, hashes: dict[bytes, Facts]) -> None:
        fields = dict(zip(hashes, self._ask([("HKEYS", key) for key in hashes]), strict=True))
        fields = {key: names for key, names in fields.items() if names}  # without those whose time has come
        told = self._ask([("HPEXPIRETIME", key, "FIELDS", len(names), *names) for key, names in fields.items()])
        for (key, names), times in zip(fields.items(), told, strict=True):
            if times:
                expiries = zip(names, times, strict=True)
                hashes[key].field_expiries = {name: time for name, time in expiries if time >= 0}


def _milliseconds(time: list[bytes]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000


def _mapped(flat: list[Any]) -> Stream:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    for part in (b"groups", b"consumers"):
        if part in fields:
            members = [_mapped(member) for member in fields[part]]
            fields[part] = {member[b"name"]: member for member in members}
    return fields
