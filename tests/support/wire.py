"""A plain RESP connection for tests: commands out, replies back as values. Errors are values too, never raised."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import hiredis

Arg = str | bytes | int | float
Command = Sequence[Arg]

#: The type of an error reply: str() gives the server's whole line, with its first word.
ServerError = hiredis.ReplyError

#: Requests and replies move in pieces of this size, bytes.
CHUNK_BYTES = 1 << 18

#: Commands packed into one send: replies to them are read before the next ones are sent, so a pipeline may be endless.
BATCH = 2_000

#: A batch is also sent once its requests reach this size, bytes: memory stays bounded with large values.
BATCH_BYTES = 8 << 20


class Refused(AssertionError):
    """A server answered with an error where the test needs success."""


def pack(commands: Iterable[Command]) -> bytes:
    """The RESP request for all commands."""
    return b"".join(map(_packed, commands))


def _packed(command: Command) -> bytes:
    # hiredis' stub types the argument as a tuple of one element.
    return hiredis.pack_command(tuple(command))  # type: ignore[arg-type, no-any-return]


class Connection:
    """One connection to a server at ("host", port) or at the path of a unix socket.

    Raises OSError where the server cannot be reached, closes the connection, or says nothing for `timeout_s`.
    """

    def __init__(
        self,
        at: tuple[str, int] | str,
        *,
        db: int = 0,
        user: str = "default",
        password: str = "",
        timeout_s: float = 60,
        protocol: int = 2,
    ) -> None:
        family = socket.AF_UNIX if isinstance(at, str) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._reader = hiredis.Reader(notEnoughData=Connection)  # a value that no reply can be
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(at)
            if family == socket.AF_INET:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._greet(db, user, password, protocol)
        except BaseException:
            self.close()
            raise

    def _greet(self, db: int, user: str, password: str, protocol: int) -> None:
        first: list[Command] = [("AUTH", user, password)] if password else []
        first += [("HELLO", protocol)] if protocol != 2 else []
        first += [("SELECT", db)] if db else []
        for reply in self.pipeline(first):
            if isinstance(reply, ServerError):
                raise ConnectionError(str(reply))

    @property
    def name(self) -> str:
        """This end's host:port as the server lists it; empty for a unix socket."""
        if self._socket.family == socket.AF_UNIX:
            return ""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def set_timeout(self, timeout_s: float) -> None:
        """Let a server say nothing for so long from now on."""
        self._socket.settimeout(timeout_s)

    def call(self, *args: Arg) -> Any:
        """The reply to one command: bytes, int, None, a list of such, or a ServerError."""
        self.send([args])
        return self.receive()

    def must(self, *args: Arg) -> Any:
        """Like `call`, but raises Refused for an error reply."""
        reply = self.call(*args)
        if isinstance(reply, ServerError):
            raise Refused(f"{args[0]!r}: {reply}")
        return reply

    def send(self, commands: Iterable[Command]) -> None:
        """Send the commands without waiting for their replies."""
        self._socket.sendall(pack(commands))

    def exchange(self, request: bytes, replies: int) -> list[Any]:
        """So many replies to a request that is RESP already."""
        self._socket.sendall(request)
        return [self.receive() for _ in range(replies)]

    def receive(self) -> Any:
        """The next reply, in the order of the commands."""
        while (reply := self._reader.gets()) is Connection:
            data = self._socket.recv(CHUNK_BYTES)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
        return reply

    def pipeline(self, commands: Iterable[Command]) -> list[Any]:
        """The replies to all commands, in order."""
        replies = []
        for packed, count in _batches(commands):
            replies += self.exchange(packed, count)
        return replies

    def drain(self) -> bool:
        """Take in what the server tells, unread, as soon as there is some; False once it tells no more."""
        return bool(self._socket.recv(CHUNK_BYTES))

    def shut(self) -> None:
        """End both directions, whoever waits for something to come."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; again is allowed."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _batches(commands: Iterable[Command]) -> Iterator[tuple[bytes, int]]:
    """(request bytes, number of commands) of pieces that BATCH and BATCH_BYTES bound."""
    parts: list[bytes] = []
    size = 0
    for command in commands:
        parts.append(_packed(command))
        size += len(parts[-1])
        if len(parts) >= BATCH or size >= BATCH_BYTES:
            yield b"".join(parts), len(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts), len(parts)
