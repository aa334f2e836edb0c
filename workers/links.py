"""The links of a worker: opens them as tasks need them, and gives each a new connection for one that was lost."""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass, replace

from .budget import Budget
from .choose import Chooser
from .conn import Connection, Lost
from .errors import after_too_long
from .expiry import Clock
from .latency import Latencies, MeasuredConnection
from .link import Link, Wait
from .patience import Patience
from .redirects import Redirect
from .router import Router, Sink
from .setup import Node, Setup
from .slots import Owners, owners_of
from .suspects import Suspects
from .task import COPY, LOOK_UP, SOURCELESS, Task

Way = tuple[bool, int]  # whether the links are turned round, and the database where their keys lead
Key = tuple[int, int, Way]  # node that keys come from, its database, where they lead
Later = Callable[[float, Callable[[], None]], None]  # (pause_s, what to do then)


@dataclass
class Events:
    """What the owner of the links does for them, and wants to know."""

    later: Later
    wait: Wait  # a state of a server that passes
    ready: Callable[[Link], None]  # all connections of a link are there, again or for the first time
    connected: Callable[[Connection], None]  # one connection has been through its handshake


class Links:
    """By key; `connections` by file descriptor, for the loop; `down` says what was lost and is not back.

    There is one connection for each node, database and role: links to the same target database share those to it.
    """

    def __init__(self, setup: Setup, poll: select.epoll, patience: Patience, events: Events) -> None:
        self.setup, self.poll, self.patience, self.events = setup, poll, patience, events
        self.shifts = setup.shifts
        self.connections: dict[int, Connection] = {}
        self.by_key: dict[Key, tuple[Link, Chooser]] = {}
        self.budgets = [Budget(unread_bytes, setup.workers) for unread_bytes in setup.unread_bytes]
        self.down: dict[Connection, str] = {}  # lost ones, with the reason, until another takes their place
        self.latencies = Latencies()
        self.suspects = Suspects(self._resume_all)
        self._routers: dict[Way, Router] = {}
        sides = ([node.slots for node in setup.targets], [node.slots for node in setup.sources])
        self._owners = [Owners(owners_of(slots)) if any(slots) else None for slots in sides]
        self._visits: dict[tuple[str, str, int], Connection] = {}  # by side, announced address and database
        self._turn = 0
        self._sent_before = 0  # over routers that were closed

    def get(self, task: Task) -> tuple[Link, Chooser] | None:
        """The link that a task goes over; None while there is no room for it."""
        turned = task.work == LOOK_UP
        key = (task.node, task.scanned_db, (turned, task.db if turned else task.target_db))
        if key not in self.by_key:
            if not self._make_room(key):
                return None
            self._open(key, task)
        return self.by_key[key]

    def set_shifts(self, shifts: list[list[int]]) -> None:
        """The clocks were measured again: see Setup.shifts."""
        self.shifts = shifts
        for (node, _, (turned, _)), (link, _) in self.by_key.items():
            if turned:
                link.ahead_ms = shifts[0][node]
            else:
                link.clock = replace(link.clock, shift_ms=shifts[node][0])
        for (turned, _), router in self._routers.items():
            if not turned:
                self._set_clocks(router)

    @property
    def sent(self) -> int:
        """Commands that were sent to the target until now."""
        now = sum(sink.sent for (turned, _), router in self._routers.items() if not turned for sink in router.sinks)
        return self._sent_before + now

    def share_out(self, unread_bytes: list[int]) -> None:
        """The sources have more room for replies, or less: bytes for each node."""
        for budget, size in zip(self.budgets, unread_bytes):
            budget.resize(size)

    def close(self) -> None:
        """Close all connections."""
        for conn in self.connections.values():
            conn.close()

    # ---- opening --------------------------------------------------------------------------------------------

    def _make_room(self, wanted: Key) -> bool:
        """Whether another link may be opened; idle ones make way."""
        while not self._has_room(wanted):
            idle = next((key for key, (link, _) in self.by_key.items() if not link.lanes), None)
            if idle is None:
                return False
            self._close(idle)
        return True

    def _has_room(self, wanted: Key) -> bool:
        """No node of either side may have more of our connections than databases at a time."""
        node, _, way = wanted
        here = sum(key[0] == node for key in self.by_key)
        return here < self.setup.links and len(self._routers.keys() | {way}) <= self.setup.links

    def _close(self, key: Key) -> None:
        link, _ = self.by_key.pop(key)
        if link.source:
            self._forget(link.source)
        if all(other.router is not link.router for other, _ in self.by_key.values()):
            del self._routers[key[2]]
            self._sent_before += sum(sink.sent for sink in link.router.sinks)
            for sink in link.router.sinks:
                self._forget(sink.conn)

    def _open(self, key: Key, task: Task) -> None:
        setup = self.setup
        node, db, (turned, target_db) = key
        router = self._router(key[2])
        reads = "target" if turned else "source"
        source = None if task.kind in SOURCELESS else self._new(reads, node, db)
        limit = min(node.max_value_bytes for node in setup.targets)
        link = Link(source, router, self._clock(key), self.events.wait, db, limit, task.no_expiries)
        may_expire = any(node.fields_may_expire for node in setup.sources + setup.targets)
        link.no_field_expiries = task.no_field_expiries or not may_expire
        link.target_db = target_db
        link.ahead_ms = self.shifts[0][node] if turned and self.shifts else 0
        link.target_clock = Clock(setup.clock.absolute if turned else setup.target_absolute)
        if task.work == COPY:
            link.on_conflict, link.atomic = setup.on_conflict, setup.atomic
        link.strings_as_values = setup.method != "dump"
        link.tolerance_ms, link.quick, link.named = setup.tolerance_ms, setup.quick, setup.named
        link.filters = setup.filters
        link.from_cluster = source is not None and bool(source.node.slots)
        link.by_slot = link.from_cluster or router.owners is not None
        link.suspects = self.suspects
        link.visit = self._visit
        self.by_key[key] = link, Chooser(setup.method, setup.batch_keys, self.budgets[task.node])

    def _visit(self, conn: Connection, redirect: Redirect) -> Connection:
        """The connection to the node that another one of its side names, to the same database; opened if need be."""
        host = redirect.host or conn.node.announced.rpartition(":")[0]
        address = f"{host}:{redirect.port}"
        for other, _ in self.by_key.values():
            there = other.source
            if there and (there.side, there.node.announced, there.db) == (conn.side, address, conn.db):
                return there
        for router in self._routers.values():
            for sink in router.sinks:
                if (sink.conn.side, sink.conn.node.announced, sink.conn.db) == (conn.side, address, conn.db):
                    return sink.conn
        where = (conn.side, address, conn.db)
        if where not in self._visits:
            nodes = self.setup.sources if conn.side == "source" else self.setup.targets
            number = next((n for n, node in enumerate(nodes) if node.announced == address), -1)
            endpoint = nodes[0].endpoint.at(host, redirect.port)
            node = nodes[number] if number >= 0 else Node(endpoint, announced=address)
            try:
                self._visits[where] = self._connect(conn.side, number, node, conn.db)
            except Lost as lost:
                assert lost.conn is not None
                return lost.conn  # it is not ready, and never will be
        return self._visits[where]

    def _router(self, way: Way) -> Router:
        """The nodes where keys lead: the target's, or for lookups those of the source."""
        if way not in self._routers:
            turned, db = way
            side, nodes = ("source", self.setup.sources) if turned else ("target", self.setup.targets)
            sinks = [Sink(number, self._new(side, number, db)) for number in range(len(nodes))]
            self._routers[way] = Router(sinks, self._owners[turned])
            if not turned:
                self._set_clocks(self._routers[way])
        return self._routers[way]

    def _clock(self, key: Key) -> Clock:
        """How the side that is read tells expiries."""
        node, _, (turned, _) = key
        if turned:
            return Clock(self.setup.target_absolute)
        shift_ms = self.shifts[node][0] if self.shifts else 0
        return replace(self.setup.clock, shift_ms=shift_ms)

    def _set_clocks(self, router: Router) -> None:
        for sink in router.sinks if self.shifts else ():
            sink.later_ms = self.shifts[0][sink.node] - self.shifts[0][0]

    def _new(self, side: str, number: int, db: int) -> Connection:
        """A connection for a link. Where the server refuses it at once, it counts as lost, and another one follows."""
        try:
            return self._connect(side, number, self._node(side, number), db)
        except Lost as lost:
            if lost.conn is None:
                raise
            self._try_later(lost.conn, lost)
            return lost.conn

    def _node(self, side: str, number: int) -> Node:
        return (self.setup.sources if side == "source" else self.setup.targets)[number]

    def _connect(self, side: str, number: int, node: Node, db: int, fence: tuple[int, ...] = ()) -> Connection:
        name = node.endpoint.name_of(self.setup.job, self.setup.epoch)
        details = (side, number, node, db, name, self.poll, fence, self._turn)
        if side in self.setup.measured:
            conn: Connection = MeasuredConnection(self.latencies, "blocks" if self.setup.synth else "", *details)
        else:
            conn = Connection(*details)
        self.connections[conn.fd] = conn
        conn.when_ready = lambda: self._came(conn)
        return conn

    def _came(self, conn: Connection) -> None:
        self.down.pop(conn, None)
        self.events.connected(conn)
        for link in self._links_of(conn):
            if link.ready:
                self.events.ready(link)
                link.go_on()

    def _links_of(self, conn: Connection) -> list[Link]:
        return [link for link, _ in self.by_key.values() if conn in link.connections]

    def _resume_all(self) -> None:
        for link, _ in list(self.by_key.values()):
            self.events.ready(link)

    # ---- losing ---------------------------------------------------------------------------------------------

    def lost(self, lost: Lost) -> None:
        """Replace the connection that was lost; raises the error where that makes no sense, or not any more."""
        conn = lost.conn
        visited = next((key for key, visit in self._visits.items() if visit is conn), None)
        if conn is not None and visited is not None:
            del self._visits[visited]
            return self._forget(conn)  # who still needs it opens another one, after a pause
        if conn is None or not self._links_of(conn):
            raise lost.error
        if conn.was_idle:
            self.patience.over(_where(conn))
        self._forget(conn)
        self._try_later(conn, lost)

    def _try_later(self, conn: Connection, lost: Lost) -> None:
        self.down[conn] = lost.error.message
        self._turn += 1
        try:
            pause_s = self.patience.pause_s(_where(conn))
        except TimeoutError as too_long:
            error = lost.error
            raise after_too_long(error, f"{error.message}, {too_long}") from None
        self.events.later(pause_s, lambda: self._try(conn))

    def _try(self, old: Connection) -> None:
        links = self._links_of(old)
        if not links:
            return  # they made way for others
        try:
            # Only what was written can do harm when it is executed late.
            fence = old.to_fence if old.side == "target" else ()
            new = self._connect(old.side, old.number, self._node(old.side, old.number), old.db, fence)
        except Lost as lost:
            return self._try_later(old, lost)
        new.fence_missing = old.side == "target" and old.leaves_unfenced
        del self.down[old]
        self.down[new] = "connection lost"
        for link in links:
            link.replace(old, new)

    def _forget(self, conn: Connection) -> None:
        self.connections.pop(conn.fd, None)
        self.down.pop(conn, None)
        conn.give_up()


def _where(conn: Connection) -> tuple[str, str, str]:
    """Where it is a trouble that a connection is lost; states of the server are another one."""
    return conn.side, conn.endpoint.address, "connection"
