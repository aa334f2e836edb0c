"""Ready-made hooks for the proxy: other cursors, another clock, fewer commands, a shorter INFO, other clients."""

from __future__ import annotations

import binascii
from typing import Any

from .frames import encoded
from .respproxy import Answer, Args, Everywhere, Hooks, Route
from .servers import Server
from .wire import Arg, ServerError

#: Commands that each of several servers must get: they change the connection or all data.
FOR_ALL = {b"SELECT", b"AUTH", b"HELLO", b"CLIENT", b"MULTI", b"EXEC", b"DISCARD", b"FLUSHALL", b"FLUSHDB", b"CONFIG"}

#: Commands that any one server answers for all.
FOR_ONE = {b"PING", b"INFO", b"TIME", b"COMMAND", b"ECHO", b"ACL", b"ROLE", b"MODULE", b"LATENCY", b"SLOWLOG"}


class ShardedCursors(Hooks):
    """Several servers seem to be one; a cursor has the number of the server in its lowest bits, as Dragonfly's has.

    The scan goes through one server after the other. A cursor that names no server ends it. Keys belong to a server by
    the CRC of their name; DBSIZE is the sum. Commands for several keys in one are not split: they go by their first.
    """

    replies_of = frozenset({b"SCAN"})

    def __init__(self, servers: int) -> None:
        self._servers = servers
        self._bits = max(1, (servers - 1).bit_length())

    def on_command(self, args: Args) -> Answer:
        name = args[0].upper()
        if name == b"SCAN":
            shard, cursor = self._split(args)
            if shard >= self._servers:
                return encoded([b"0", []])
            return Route(shard, [args[0], b"%d" % cursor, *args[2:]])
        if name == b"DBSIZE":
            return Everywhere(args, sum)
        if name in FOR_ALL:
            return Everywhere(args)
        if name in FOR_ONE or len(args) < 2:
            return args
        place = 2 if name in (b"DEBUG", b"OBJECT", b"XINFO", b"XGROUP", b"MEMORY") and len(args) > 2 else 1
        return Route(binascii.crc32(args[place]) % self._servers, args)

    def on_reply(self, args: Args, reply: Any) -> Any:
        if isinstance(reply, ServerError):
            return reply
        shard, _ = self._split(args)
        following = int(reply[0])
        if following == 0:
            shard += 1
        ended = following == 0 and shard == self._servers
        return [b"%d" % (0 if ended else following << self._bits | shard), reply[1]]

    def _split(self, args: Args) -> tuple[int, int]:
        cursor = int(args[1])
        return cursor & ((1 << self._bits) - 1), cursor >> self._bits


class OffsetCursors(Hooks):
    """A cursor is an offset into a sorted listing of all keys, made when a scan begins at 0 (or when there is none).

    For database `db`; options of SCAN but COUNT are not known here and refused.
    """

    def __init__(self, server: Server, db: int = 0) -> None:
        self._server = server
        self._db = db
        self._listing: list[bytes] | None = None

    def on_command(self, args: Args) -> Answer:
        if args[0].upper() != b"SCAN":
            return args
        offset, count = int(args[1]), _count(args)
        if count is None:
            return b"-ERR syntax error\r\n"
        if offset == 0 or self._listing is None:
            self._listing = self._list()
        page = self._listing[offset : offset + count]
        following = offset + count if offset + count < len(self._listing) else 0
        return encoded([b"%d" % following, page])

    def _list(self) -> list[bytes]:
        with self._server.connect(self._db) as connection:
            return sorted(connection.must("KEYS", "*"))


def _count(args: Args) -> int | None:
    """The COUNT of a SCAN; None where it has other options."""
    if len(args) == 2:
        return 10
    return int(args[3]) if len(args) == 4 and args[2].upper() == b"COUNT" else None


class NamedCursors(Hooks):
    """Cursors are no numbers, but for the one that begins and ends a scan: as Kvrocks', of "_" and a key's name."""

    replies_of = frozenset({b"SCAN"})

    def on_command(self, args: Args) -> Answer:
        if args[0].upper() != b"SCAN" or args[1] == b"0":
            return args
        if not args[1].startswith(b"_"):
            return b"-ERR invalid cursor\r\n"
        return [args[0], args[1][1:], *args[2:]]

    def on_reply(self, args: Args, reply: Any) -> Any:
        if isinstance(reply, ServerError) or reply[0] == b"0":
            return reply
        return [b"_" + reply[0], reply[1]]


class TableCursors(Hooks):
    """The server remembers each cursor it gave under a small number; an unknown number begins at 0, as Kvrocks'."""

    replies_of = frozenset({b"SCAN"})

    def __init__(self) -> None:
        self._cursors = {0: b"0"}

    def on_command(self, args: Args) -> Answer:
        if args[0].upper() != b"SCAN":
            return args
        return [args[0], self._cursors.get(int(args[1]), b"0"), *args[2:]]

    def on_reply(self, args: Args, reply: Any) -> Any:
        if isinstance(reply, ServerError) or reply[0] == b"0":
            return reply
        number = len(self._cursors)
        self._cursors[number] = reply[0]
        return [b"%d" % number, reply[1]]


class ClockSkew(Hooks):
    """TIME is `seconds` ahead (behind, if negative), and so is what XPENDING tells of the age of a delivery.

    Expiries given as points in time are still the real clock's.
    """

    replies_of = frozenset({b"TIME", b"XPENDING"})

    def __init__(self, seconds: float) -> None:
        self._skew_us = round(seconds * 1e6)

    def on_reply(self, args: Args, reply: Any) -> Any:
        if isinstance(reply, ServerError):
            return reply
        if args[0].upper() == b"XPENDING":
            skew_ms = self._skew_us // 1000
            return [[*entry, max(0, idle_ms + skew_ms), count] for *entry, idle_ms, count in reply]
        time_us = int(reply[0]) * 1_000_000 + int(reply[1]) + self._skew_us
        return [b"%d" % part for part in divmod(time_us, 1_000_000)]


class Written(Hooks):
    """Another client sends a command before each look at the server's counters: no two looks find them equal."""

    def __init__(self, server: Server, *command: Arg) -> None:
        self._server, self._command = server, command

    def on_command(self, args: Args) -> Answer:
        if args[0].upper() == b"INFO":
            self._server.call(*self._command)
        return args


class WithoutCommands(Hooks):
    """The named commands are unknown: `WithoutCommands("DUMP", "CONFIG")`; COMMAND INFO does not know them either."""

    replies_of = frozenset({b"COMMAND"})

    def __init__(self, *names: str) -> None:
        self._names = {name.upper().encode() for name in names}

    def on_command(self, args: Args) -> Answer:
        if args[0].upper() in self._names:
            return b"-ERR unknown command '%b', with args beginning with: \r\n" % args[0]
        return args

    def on_reply(self, args: Args, reply: Any) -> Any:
        if len(args) < 3 or args[1].upper() != b"INFO" or not isinstance(reply, list):
            return reply
        asked = [name.upper() for name in args[2:]]
        return [None if name in self._names else one for name, one in zip(asked, reply, strict=True)]


class InfoFields(Hooks):
    """INFO has other fields: those named are left out, `more` are added to its first section."""

    replies_of = frozenset({b"INFO"})

    def __init__(self, *without: str, **more: str) -> None:
        self._without = tuple(f"{name}:".encode() for name in without)
        self._more = [f"{name}:{value}".encode() for name, value in more.items()]

    def on_reply(self, args: Args, reply: Any) -> Any:
        if not isinstance(reply, bytes):
            return reply
        heading, *lines = reply.split(b"\r\n")
        lines = [line for line in lines if not line.startswith(self._without)] if self._without else lines
        return b"\r\n".join([heading, *self._more, *lines])


class WithoutInfo(Hooks):
    """INFO lacks the named sections, as on managed servers: `WithoutInfo("server", "memory")`."""

    replies_of = frozenset({b"INFO"})

    def __init__(self, *sections: str) -> None:
        self._sections = {section.lower().encode() for section in sections}

    def on_reply(self, args: Args, reply: Any) -> Any:
        if not isinstance(reply, bytes):
            return reply
        blocks = reply.split(b"\r\n\r\n")
        return b"\r\n\r\n".join(block for block in blocks if self._heading(block) not in self._sections)

    @staticmethod
    def _heading(block: bytes) -> bytes:
        return block.strip().partition(b"\r\n")[0].lstrip(b"# ").lower()
