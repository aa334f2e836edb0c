"""The links of a worker: opens them as tasks need them, and gives each a new connection for one that was lost."""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass, replace

from .budget import Budget
from .choose import Chooser
from .conn import Connection, Lost
from .errors import RunError
from .expiry import Clock
from .latency import Latencies, MeasuredConnection
from .link import Link, Wait
from .patience import Patience
from .task import COPY, LOOK_UP, SOURCELESS, Setup, Task
from .write import Router, Sink

Key = tuple[bool, int, int, int]  # turned round?, source node, database, target database
Later = Callable[[float, Callable[[], None]], None]  # (pause_s, what to do then)


@dataclass
class Events:
    """What the owner of the links does for them, and wants to know."""

    later: Later
    wait: Wait  # a state of a server that passes
    ready: Callable[[Link], None]  # all connections of a link are there, again or for the first time
    connected: Callable[[Connection], None]  # one connection has been through its handshake


class Links:
    """By key; `connections` by file descriptor, for the loop; `down` says what was lost and is not back."""

    def __init__(self, setup: Setup, poll: select.epoll, patience: Patience, events: Events) -> None:
        self.setup, self.poll, self.patience, self.events = setup, poll, patience, events
        self.clock = setup.clock
        self.connections: dict[int, Connection] = {}
        self.by_key: dict[Key, tuple[Link, Chooser]] = {}
        self.budgets = [Budget(setup.unread_bytes, setup.workers) for _ in max(setup.sources, setup.targets, key=len)]
        self.down: dict[Connection, str] = {}  # lost ones, with the reason, until another takes their place
        self.latencies = Latencies()
        self._turn = 0

    def get(self, task: Task) -> tuple[Link, Chooser] | None:
        """The link that a task goes over; None while there is no room for it."""
        key = (task.work == LOOK_UP, task.node, task.db, task.target_db)
        if key not in self.by_key:
            if not self._make_room():
                return None
            self._open(key, task)
        return self.by_key[key]

    def set_shift(self, shift_ms: int) -> None:
        """The target's clock was measured again."""
        self.clock = replace(self.clock, shift_ms=shift_ms)
        for (turned_round, *_), (link, _) in self.by_key.items():
            if not turned_round:
                link.clock = self.clock

    def share_out(self, unread_bytes: int) -> None:
        """The sources have more room for replies, or less."""
        for budget in self.budgets:
            budget.resize(unread_bytes)

    def close(self) -> None:
        """Close all connections."""
        for conn in self.connections.values():
            conn.close()

    # ---- opening --------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Whether another link may be opened; an idle one makes way."""
        if len(self.by_key) < self.setup.links:
            return True
        idle = next((key for key, (link, _) in self.by_key.items() if not link.lanes), None)
        if idle is None:
            return False
        for conn in self.by_key.pop(idle)[0].connections:
            self._forget(conn)
        return True

    def _open(self, key: Key, task: Task) -> None:
        setup = self.setup
        if task.work == LOOK_UP:
            link = self._turned_round(task)
        else:
            sinks = [Sink(number, self._new("target", number, task.target_db)) for number in range(len(setup.targets))]
            source = None if task.kind in SOURCELESS else self._new("source", task.node, task.db)
            limit = min(node.max_value_bytes for node in setup.targets)
            link = Link(source, Router(sinks), self.clock, self.events.wait, task.db, limit, task.no_expiries)
            link.target_db, link.target_clock = task.target_db, Clock(setup.target_absolute)
            link.tolerance_ms, link.quick = setup.tolerance_ms, setup.quick and task.work != COPY
        if task.work == COPY:
            link.on_conflict, link.atomic = setup.on_conflict, setup.atomic
        self.by_key[key] = link, Chooser(setup.method, setup.batch_keys, self.budgets[task.node])
        link.resume = lambda: self.events.ready(link)
        for conn in link.connections:
            conn.when_ready = lambda conn=conn: self._came(link, conn)  # type: ignore[misc]

    def _turned_round(self, task: Task) -> Link:
        """A link whose keys come from the target, to be looked up at the source."""
        sinks = [Sink(number, self._new("source", number, task.db)) for number in range(len(self.setup.sources))]
        reader = self._new("target", task.node, task.target_db)
        link = Link(reader, Router(sinks), Clock(self.setup.target_absolute), self.events.wait, task.target_db)
        link.target_db, link.target_clock = task.db, Clock(self.setup.clock.absolute)
        return link

    def _new(self, side: str, number: int, db: int, fence: tuple[int, ...] = ()) -> Connection:
        node = (self.setup.sources if side == "source" else self.setup.targets)[number]
        name = node.endpoint.client_name or f"keyferry:{self.setup.job}:{self.setup.epoch}"
        details = (side, number, node, db, name, self.poll, fence, self._turn)
        if side in self.setup.measured:
            conn: Connection = MeasuredConnection(self.latencies, "blocks" if self.setup.synth else "", *details)
        else:
            conn = Connection(*details)
        self.connections[conn.fd] = conn
        return conn

    def _came(self, link: Link, conn: Connection) -> None:
        self.events.connected(conn)
        if link.ready:
            self.events.ready(link)
            link.go_on()

    # ---- losing ---------------------------------------------------------------------------------------------

    def lost(self, lost: Lost) -> None:
        """Replace the connection that was lost; raises the error where that makes no sense, or not any more."""
        conn = lost.conn
        link = next((link for link, _ in self.by_key.values() if conn in link.connections), None)
        if conn is None or link is None:
            raise lost.error
        self._forget(conn)
        self._try_later(link, conn, lost)

    def _try_later(self, link: Link, conn: Connection, lost: Lost) -> None:
        self.down[conn] = lost.error.message
        self._turn += 1
        try:
            pause_s = self.patience.pause_s((conn.side, conn.endpoint.address))
        except TimeoutError as too_long:
            error = lost.error
            text = f"{error.message}, {too_long}"
            raise RunError(text, side=error.side, address=error.address, hint=error.hint) from None
        self.events.later(pause_s, lambda: self._try(link, conn))

    def _try(self, link: Link, old: Connection) -> None:
        if old not in link.connections:
            return  # the link made way for another one
        try:
            # Only what was written can do harm when it is executed late.
            new = self._new(old.side, old.number, old.db, old.to_fence if old.side == "target" else ())
        except Lost as lost:
            return self._try_later(link, old, lost)
        del self.down[old]
        self.down[new] = "connection lost"
        new.when_ready = lambda: self._came_back(link, new)
        link.replace(old, new)

    def _came_back(self, link: Link, conn: Connection) -> None:
        del self.down[conn]
        self._came(link, conn)

    def _forget(self, conn: Connection) -> None:
        self.connections.pop(conn.fd, None)
        self.down.pop(conn, None)
        conn.give_up()
