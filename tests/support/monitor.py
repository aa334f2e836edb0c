"""Sees every command that a server executes, by MONITOR."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from .servers import Server
from .wire import Connection

#: 1700000000.123456 [0 127.0.0.1:5000] "SET" "key" "va\"lue\x00"; the address is "lua" for commands of scripts.
LINE = re.compile(rb"^(?P<time>\d+\.\d+) \[(?P<db>\d+) (?P<client>[^\]]*)\] (?P<words>.*)$", re.DOTALL)
WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
SHORT = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


@dataclass(frozen=True)
class Executed:
    """One command as the server ran it. `client` is host:port, "unix:path" or "lua"; `time_s` the server's clock."""

    time_s: float
    db: int
    client: str
    args: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """The command in capitals."""
        return self.args[0].decode(errors="replace").upper()


def parse(line: bytes) -> Executed:
    """One line of MONITOR. Raises ValueError where it is none."""
    match = LINE.match(line)
    if match is None:
        raise ValueError(f"no line of MONITOR: {line!r}")
    args = tuple(ESCAPE.sub(_unescaped, word) for word in WORD.findall(match["words"]))
    return Executed(float(match["time"]), int(match["db"]), match["client"].decode(), args)


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code[1:], 16)]) if len(code) == 3 else SHORT.get(code, code)


class Monitor:
    """`with Monitor(server) as monitor: …`, then `monitor.commands` has all commands that ran in between, in order.

    AUTH and a few administrative commands are not shown by the servers. Those of the monitor itself are left out.
    """

    def __init__(self, server: Server) -> None:
        self.commands: list[Executed] = []
        self._server = server
        self._fence = uuid.uuid4().hex.encode()
        self._lines: list[bytes] = []

    def names(self) -> set[str]:
        """The names of the commands, in capitals."""
        return {command.name for command in self.commands}

    def __enter__(self) -> Self:
        self._feed = self._server.connect()
        self._own = self._server.connect()
        self._feed.must("MONITOR")
        self._thread = threading.Thread(target=self._collect, name="monitor", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The fence runs after every command that was executed so far, so its line comes after theirs.
        try:
            self._own.must("ECHO", self._fence)
            self._thread.join(30)
            assert not self._thread.is_alive(), "MONITOR did not show the fence within 30 s"
        finally:
            own = self._own.name
            self._own.close()
            self._feed.close()
        everything = [parse(line) for line in self._lines]
        self.commands = [command for command in everything if command.client != own]

    def _collect(self) -> None:
        while True:
            line = self._next(self._feed)
            if line is None:
                return
            self._lines.append(line)
            if self._fence in line:
                return

    @staticmethod
    def _next(feed: Connection) -> bytes | None:
        """The next line; None once the connection is gone. A quiet server is no error."""
        while True:
            try:
                return bytes(feed.receive())
            except TimeoutError:
                continue
            except OSError:
                return None


def connection_names(commands: Iterable[Executed]) -> set[bytes]:
    """The names that connections were given."""
    return {one.args[2] for one in commands if one.name == "CLIENT" and one.args[1].upper() == b"SETNAME"}


def connections_taken(server: Server) -> bytes:
    """Counted by the server; asked on a connection that is there already."""
    return server.call("INFO", "stats").split(b"total_connections_received:")[1].split()[0]
