"""Windows over real connections, without the rest of a worker."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from keyferry.workers.conn import Connection
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.expiry import Clock
from keyferry.workers.link import Link
from keyferry.workers.router import Router, Sink
from keyferry.workers.setup import Node
from keyferry.workers.slots import SLOTS, Owners

from .respproxy import Proxy
from .servers import Server

CLOCK = Clock(absolute=True)

#: Odd slots belong to the second node: pieces are as small as they can be.
BY_TURNS = [slot & 1 for slot in range(SLOTS)]


class Loop:
    """As much of a worker's loop as one window needs."""

    def __init__(
        self,
        source: Server | Proxy,
        targets: list[Server],
        clock: Clock = CLOCK,
        owners: list[int] | None = BY_TURNS,
    ) -> None:
        self.poll = select.epoll()
        self.connections: list[Connection] = []
        sinks = [Sink(n, self._connect("target", one)) for n, one in enumerate(targets)]
        self.link = Link(
            self._connect("source", source), Router(sinks, Owners(list(owners)) if owners else None), clock, self._wait
        )
        self.link.by_slot = owners is not None

    def _connect(self, side: str, server: Server | Proxy) -> Connection:
        node = Node(Endpoint(port=server.port), read=True)
        self.connections.append(Connection(side, 0, node, 0, "keyferry:test", self.poll))
        return self.connections[-1]

    def _wait(self, side: str, address: str, reason: str, hint: str, again: Callable[[], None]) -> None:
        again()

    def run_until(self, done: Callable[[], bool]) -> None:
        by_fd = {conn.fd: conn for conn in self.connections}
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline
            for conn in self.connections:
                conn.flush()
            for fd, events in self.poll.poll(0.05):
                by_fd[fd].on_event(events)

    def close(self) -> None:
        for conn in self.connections:
            conn.close()
        self.poll.close()
