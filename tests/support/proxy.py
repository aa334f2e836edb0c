"""A TCP proxy in front of one real server that makes bad weather: connections are cut, stall, are slow, lie, ….

What goes wrong, when and on which connection says a map, whose language is in `faults.py`:

    with FaultProxy(server.port, "cut at request SCAN 3 connection 2") as proxy:
        ...                                # connect to proxy.port
        proxy.wait_until_fired(10)

By hand, until Ctrl-C: `python -m tests.support.proxy LISTEN_PORT TARGET_PORT MAP`.

HOW IT WORKS. One thread runs an epoll loop over all connections (`link.py`). Where requests and replies are to be told
apart (`watch`), they pass as whole frames; without it, bytes pass as they come, at a fraction of the cost.

LIMITATIONS. Replies are matched to requests by counting: not for MONITOR, nor for SUBSCRIBE over RESP2. TLS passes only
without `watch`.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from .eventloop import Loop
from .faults import REPLY, REQUEST, TRANSLATE, BadMap, Rule, parse
from .link import Armed, Counters, Link
from .wire import Connection

#: A server that takes no connection for so long is not there, seconds.
CONNECT_S = 10.0
#: A call into the proxy's thread that takes longer is a bug, seconds.
CALL_S = 10.0


class FaultProxy:
    """Listens on a loopback port from `with` on; `port` 0 takes a free one. `counters` tell what happened so far.

    `watch` tells requests and replies apart from the start of each connection, so that a later `set` may name them.
    """

    def __init__(
        self, server_port: int, map: str = "", *, host: str = "127.0.0.1", port: int = 0, watch: bool = True
    ) -> None:
        self.host, self.port, self.watch = "127.0.0.1", port, watch
        self.counters = Counters()
        self._server = host, server_port
        self._armed = self._arm(map)
        self._loop = Loop()
        self._links: set[Link] = set()
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future[None]]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self.serve, name="fault proxy", daemon=True)
        self._stopping = False

    # ---- for tests ------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    @property
    def stalled(self) -> list[Link]:
        """Connections that are held, in one direction at least; each is `closed` once it has come to its end."""
        return [link for link in list(self._links) if link.stalled]

    def connect(self, db: int = 0, *, timeout_s: float = 60, protocol: int = 2) -> Connection:
        """A connection through the proxy, like Server.connect."""
        return Connection((self.host, self.port), db=db, timeout_s=timeout_s, protocol=protocol)

    def set(self, map: str) -> None:
        """Another map, also for what passes over open connections from now on; what has fired stays as it is."""
        armed = self._arm(map)
        self._call(lambda: self._set(armed))

    def lead_to(self, server_port: int) -> None:
        """New connections lead to another server from now on, as where a name changes its address."""
        self._call(lambda: setattr(self, "_server", (self._server[0], server_port)))

    def release(self) -> None:
        """End stalls, slowness and delays: what was held is passed on."""
        self._call(lambda: self._each(Link.release))

    def kill_all(self, after: int = 0) -> None:
        """Close all connections but the first `after` ones; new ones are taken."""
        self._call(lambda: self._each(lambda link: link.close() if link.number > after else None))

    def kill(self, link: Link) -> None:
        """Close one connection."""
        self._call(link.close)

    def wait_until_fired(self, timeout_s: float, count: int = 1) -> None:
        """Return once `count` faults have happened; fails after `timeout_s`."""
        happened = self._wait_for(lambda: self.counters.fired >= count, timeout_s)
        assert happened, f"{self.counters.fired} of {count} faults fired within {timeout_s:g} s"

    def wait_until_closed(self, timeout_s: float) -> None:
        """Return once no connection is open: the server has taken all that it ever will. Fails after `timeout_s`."""
        assert self._wait_for(lambda: not self._links, timeout_s), f"{self.open} connections are open"

    def _wait_for(self, what: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(what, timeout_s)

    def __enter__(self) -> Self:
        self.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(CALL_S)

    # ---- the thread -----------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take the port."""
        self._listener = socket.create_server((self.host, self.port), backlog=512)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._loop.watch(self._listener.fileno(), select.EPOLLIN, self._accept)
        self._loop.watch(self._wake, select.EPOLLIN, self._do_calls)

    def serve(self) -> None:
        """Pass bytes on until stopped; then close everything."""
        while not self._stopping:
            self._loop.turn()
        self._each(Link.close)
        self._listener.close()
        os.close(self._wake)
        self._loop.close()

    def stop(self) -> None:
        """Let `serve` return; from any thread, or a signal's handler."""
        self._post(self._stop)

    def _stop(self) -> None:
        self._stopping = True

    def _accept(self, events: int) -> None:
        client, _ = self._listener.accept()
        self.counters.connections += 1
        try:
            server = socket.create_connection(self._server, timeout=CONNECT_S)
        except OSError:  # as if the client had tried itself
            client.close()
            return
        link = Link(self._loop, self.counters, client, server, self.watch, self._note_fired, self._note_closed)
        self._links.add(link)
        link.arm(self._armed, new=True)

    def _each(self, what: Callable[[Link], None]) -> None:
        for link in list(self._links):  # one that closes leaves the set
            what(link)

    def _arm(self, map: str) -> list[Armed]:
        rules = parse(map)
        assert self.watch or not needs_frames(rules), "the proxy does not tell requests and replies apart"
        return [Armed(rule) for rule in rules]

    def _set(self, armed: list[Armed]) -> None:
        self._armed = armed
        self._each(lambda link: link.arm(armed))

    def _note_fired(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _note_closed(self, link: Link) -> None:
        with self._changed:
            self._links.discard(link)
            self._changed.notify_all()

    def _call(self, what: Callable[[], object]) -> None:
        """Do something in the thread, and return when it is done."""
        self._post(what).result(CALL_S)

    def _post(self, what: Callable[[], object]) -> Future[None]:
        done: Future[None] = Future()
        self._calls.put((what, done))
        os.eventfd_write(self._wake, 1)
        return done

    def _do_calls(self, events: int) -> None:
        os.eventfd_read(self._wake)
        while not self._calls.empty():
            what, done = self._calls.get()
            try:
                what()
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)


def needs_frames(rules: list[Rule]) -> bool:
    """Whether requests and replies must be told apart for these rules."""
    return any(rule.moment.kind in (REQUEST, REPLY) or rule.fault == TRANSLATE for rule in rules)


def main(words: list[str]) -> int:
    """The command line."""
    try:
        listen_port, target_port, map = int(words[0]), int(words[1]), " ".join(words[2:])
        proxy = FaultProxy(target_port, map, port=listen_port, watch=needs_frames(parse(map)))
    except (BadMap, ValueError, IndexError) as error:
        print(f"python -m tests.support.proxy LISTEN_PORT TARGET_PORT MAP\n{error}", file=sys.stderr)
        return 2
    proxy.listen()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: proxy.stop())
    print(f"{proxy.address} → 127.0.0.1:{target_port}: {map or 'everything passes'}", flush=True)
    proxy.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
