"""A proxy that understands RESP, in front of one real server or more: a test's hooks see and change the traffic.

HOW IT WORKS. One thread runs an event loop. Each client gets a connection of its own to every server behind. Frames
(whole requests and replies) are found by a scanner that copies nothing; replies go on as the bytes they were unless a
hook wants to see them. Replies leave in the order of their requests, wherever they come from.

LIMITATIONS. Nothing is bounded: what a client does not read piles up here, as it would in the server. Commands that
turn the connection into a feed (MONITOR, SUBSCRIBE) work only as far as their messages are RESP3 pushes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from .frames import Frames, decoded, encoded, words
from .servers import Server
from .wire import Connection, pack

Args = list[bytes]


@dataclass(frozen=True)
class Route:
    """An answer of `on_command`: send `args` to the server with this index, the first being 0."""

    server: int
    args: Args


@dataclass(frozen=True)
class Everywhere:
    """An answer of `on_command`: send `args` to all servers; `merge` makes one reply of theirs, default: the first."""

    args: Args
    merge: Callable[[list[Any]], Any] | None = None


Answer = Args | bytes | Route | Everywhere


class Hooks:
    """What a test changes: subclass it. Called in the proxy's thread, for all its clients."""

    #: Commands whose replies go through `on_reply`, in capitals.
    replies_of: frozenset[bytes] = frozenset()

    def on_command(self, args: Args) -> Answer:
        """The request to send on instead of `args`, or a reply (bytes as on the wire) without asking any server."""
        return args

    def on_reply(self, args: Args, reply: Any) -> Any:
        """The reply to send instead of `reply` to the client's command `args`, also when that ran in a MULTI."""
        return reply


class Chain(Hooks):
    """Several hooks as one: the first sees a command first and a reply last. Only the last may route."""

    def __init__(self, *hooks: Hooks) -> None:
        self._hooks = hooks
        self.replies_of = frozenset().union(*(one.replies_of for one in hooks))

    def on_command(self, args: Args) -> Answer:
        answer: Answer = args
        for one in self._hooks:
            if not isinstance(answer, list):
                break
            answer = one.on_command(answer)
        return answer

    def on_reply(self, args: Args, reply: Any) -> Any:
        for one in reversed(self._hooks):
            if args[0].upper() in one.replies_of:
                reply = one.on_reply(args, reply)
        return reply


class Proxy:
    """On a free loopback port until left: `with Proxy(server, hooks) as proxy:`, then connect to `proxy.port`."""

    def __init__(self, servers: Server | list[Server], hooks: Hooks | None = None) -> None:
        self.servers = servers if isinstance(servers, list) else [servers]
        self.hooks = hooks or Hooks()
        self.host = "127.0.0.1"
        self.port = 0
        self.clients = 0  # connections taken so far
        self._open: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="respproxy", daemon=True)

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    def connect(self, db: int = 0, *, timeout_s: float = 60, protocol: int = 2) -> Connection:
        """A connection through the proxy, like Server.connect."""
        password = self.servers[0].password
        return Connection((self.host, self.port), db=db, password=password, timeout_s=timeout_s, protocol=protocol)

    def cut(self) -> None:
        """Close all connections; new ones are taken."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._listener = await self._loop.create_server(lambda: _Client(self), self.host, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        for transport in list(self._open):
            transport.abort()
        while self._open:
            await asyncio.sleep(0.001)

    async def _shut(self) -> None:
        self._listener.close()
        await self._cut()


@dataclass(slots=True)
class _Pending:
    """A request of the client whose reply is not sent yet."""

    args: Args
    servers: tuple[int, ...]  # those asked
    merge: Callable[[list[Any]], Any] | None = None
    replies: list[bytes] = field(default_factory=list)
    queued: list[Args] | None = None  # of an EXEC: the commands that it runs

    @property
    def complete(self) -> bool:
        return len(self.replies) >= max(1, len(self.servers))


class _Client(asyncio.Protocol):
    """One client, with its connections to the servers behind."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._hooks = proxy.hooks
        self._frames = Frames()
        self._backs: list[_Back] = []
        self._pending: deque[_Pending] = deque()
        self._multi: list[Args] | None = None  # the commands since MULTI
        # What has come while the servers behind are being connected. Pausing the transport instead would do nothing:
        # asyncio of Python 3.11.2 begins to read after connection_made, whatever that has said.
        self._early: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.clients += 1
        self._proxy._open.add(transport)
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            for server in self._proxy.servers:
                _, back = await loop.create_connection(partial(_Back, self), server.host, server.port)
                self._backs.append(back)
        except OSError:
            self._transport.abort()
        else:
            early, self._early = self._early or b"", None
            self.data_received(early)

    def connection_lost(self, error: Exception | None) -> None:
        self._opening.cancel()
        for back in self._backs:
            back.transport.abort()
        self._proxy._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early += data
            return
        for frame in self._frames.feed(data):
            self._request(words(frame), frame)
        self.deliver()

    def _request(self, args: Args, frame: bytes) -> None:
        answer = self._hooks.on_command(args)
        if isinstance(answer, bytes):
            self._pending.append(_Pending(args, (), replies=[answer]))
            return
        pending, out = self._routed(args, answer, frame)
        self._note_multi(pending)
        self._pending.append(pending)
        for index in pending.servers:
            self._backs[index].ask(pending, out)

    def _routed(self, args: Args, answer: Args | Route | Everywhere, frame: bytes) -> tuple[_Pending, bytes]:
        if isinstance(answer, list):
            answer = Route(0, answer)
        out = frame if answer.args is args else pack([answer.args])
        if isinstance(answer, Route):
            return _Pending(args, (answer.server,)), out
        return _Pending(args, tuple(range(len(self._backs))), answer.merge), out

    def _note_multi(self, pending: _Pending) -> None:
        name = pending.args[0].upper()
        if name == b"MULTI":
            self._multi = []
        elif name in (b"EXEC", b"DISCARD"):
            pending.queued, self._multi = self._multi, None
        elif self._multi is not None:
            self._multi.append(pending.args)

    def push(self, frame: bytes) -> None:
        """A message out of turn."""
        self._transport.write(frame)

    def deliver(self) -> None:
        """Send the replies that are complete, up to the first that is not."""
        ready = []
        while self._pending and self._pending[0].complete:
            ready.append(self._final(self._pending.popleft()))
        if ready and not self._transport.is_closing():
            self._transport.write(b"".join(ready))

    def close(self) -> None:
        """A server went away: the client sees what it would see."""
        self._transport.close()

    def _final(self, pending: _Pending) -> bytes:
        wanted = self._hooks.replies_of
        name = pending.args[0].upper()
        inside = [args for args in pending.queued or () if args[0].upper() in wanted]
        if not pending.servers or not (pending.merge or inside or name in wanted):
            return pending.replies[0]
        values = [decoded(frame) for frame in pending.replies]
        value = pending.merge(values) if pending.merge else values[0]
        if inside and isinstance(value, list) and pending.queued:
            value = [self._changed(args, reply) for args, reply in zip(pending.queued, value, strict=True)]
        return encoded(self._changed(pending.args, value))

    def _changed(self, args: Args, reply: Any) -> Any:
        return self._hooks.on_reply(args, reply) if args[0].upper() in self._hooks.replies_of else reply


class _Back(asyncio.Protocol):
    """A client's connection to one server."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._frames = Frames()
        self._asked: deque[_Pending] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._client.close()

    def ask(self, pending: _Pending, request: bytes) -> None:
        """Send a request; its reply will be added to `pending`."""
        self._asked.append(pending)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            if frame[:1] == b">":
                self._client.push(frame)
            else:
                self._asked.popleft().replies.append(frame)
        self._client.deliver()
