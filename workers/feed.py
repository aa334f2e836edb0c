"""The feed process: drains what the sources tell of changes, and hands the names of changed keys to the coordinator.

    sources ── events ─→ ┌─ feed ────────────┐ ←── FeedOrder ── coordinator
                         │ dirty set          │ ─── FeedReport ─→
                         └────────────────────┘

It does nothing else, so that no event waits for long in a server's memory. It says something only when it is asked, one
report an ask, which the pipe takes whole: the coordinator may be busy for as long as it likes. What is not taken waits
in the dirty set, which is bounded; where it overflows, or a connection is lost, that is a gap.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import time
from collections import Counter
from collections.abc import Callable

from . import process
from .conn import Lost
from .dirty import DirtySet
from .errors import AccessError, ChangedError, InternalError, KeyferryError, NotConverged, after_too_long
from .feed_conn import FeedConnection, Told
from .feed_task import FeedOrder, FeedReport, FeedSetup
from .listener import Listener, Owner
from .patience import Patience
from .pipe import Pipe

#: An ask is answered after so long, also where there is nothing to tell.
ANSWER_S = 0.2
#: Names that have come are handed out after so long: some more may come meanwhile.
GATHER_S = 0.005
#: No more names than these go into a report: Linux keeps 208 KB of it while nobody takes it.
REPORT_BYTES = 128 << 10


class Feed:
    """The loop and what it holds. `pipe` is the end of one to the coordinator."""

    def __init__(self, pipe: Pipe, setup: FeedSetup) -> None:
        self.pipe, self.setup = pipe, setup
        self.poll = select.epoll()
        self.poll.register(pipe.fileno(), select.EPOLLIN)
        self.patience = Patience(setup.retry_for_s)
        self.dirty = DirtySet(setup.most_bytes)
        self.connections: dict[int, FeedConnection] = {}
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.fences: dict[int, int] = {}  # number -> how many sources have not passed it
        self.report = FeedReport()
        self.events = 0
        self.asked_at = 0.0  # 0: no report is wanted
        self.take = 0
        self.has_news = False
        self.quit = False
        self.down: dict[int, str] = {}
        self._serial = itertools.count()
        self._turns = 0
        owner = Owner(self._gap, self._later, self._passed, self._news)
        self.listeners = [Listener(number, setup, owner) for number in range(len(setup.sources))]

    # ---- the loop -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to quit, or until the coordinator is gone."""
        for listener in self.listeners:
            self._guarded(lambda one=listener: self._connect(one))  # type: ignore[misc]
        while not self.quit:
            self._guarded(self._turn)

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Lost as lost:
            self._lost(lost)
        except KeyferryError as error:
            self._fail(error)

    def _turn(self) -> None:
        for conn in list(self.connections.values()):
            if conn.wants_flush:
                conn.flush()
        for fd, events in self.poll.poll(self._patience_s()):
            if fd == self.pipe.fileno():
                self._obey()
            elif (found := self.connections.get(fd)) is not None:
                found.on_event(events)
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()
        for conn in list(self.connections.values()):
            conn.check_deadline(now)
        self._answer(now)

    def _patience_s(self) -> float:
        now = time.monotonic()
        due = now + ANSWER_S
        if self.timers:
            due = min(due, self.timers[0][0])
        if self.asked_at and (self.has_news or (self.take and len(self.dirty))):
            due = min(due, now + GATHER_S)
        return max(0.0, due - now)

    def _later(self, pause_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.timers, (time.monotonic() + pause_s, next(self._serial), action))

    # ---- orders and reports ---------------------------------------------------------------------------------

    def _obey(self) -> None:
        try:
            order = FeedOrder.unpack(self.pipe.receive())
        except (EOFError, OSError):
            self.quit = True
            return
        self.quit = order.quit
        if order.ask:
            self.asked_at, self.take = time.monotonic(), min(order.take, REPORT_BYTES)
        if order.fence:
            self.fences[order.fence] = len(self.listeners)
            for listener in self.listeners:
                listener.fence(order.fence)

    def _news(self) -> None:
        self.has_news = True

    def _answer(self, now: float) -> None:
        """Send the report that is wanted, if there is something to tell, or nothing was told for a while."""
        if not self.asked_at:
            return
        oldest = self.dirty.oldest
        ripe = self.take and oldest and now - max(oldest, self.asked_at) >= GATHER_S
        if not (ripe or self.has_news or now - self.asked_at >= ANSWER_S):
            return
        report = self.report
        if self.dirty.full:
            self.dirty.full = False
            report.gaps.append("more keys changed than fit into the memory for them")
        report.dirtied = self.dirty.take(self.take) if self.take else []
        self._describe(report)
        self.report, self.has_news, self.asked_at = FeedReport(failure=report.failure), False, 0.0
        try:
            self.pipe.send(report.pack())
        except OSError:
            self.quit = True

    def _describe(self, report: FeedReport) -> None:
        listeners, report.made_at = self.listeners, time.monotonic()
        report.confirmed = all(listener.confirmed for listener in listeners)
        report.events, report.dirty, report.oldest = self.events, len(self.dirty), self.dirty.oldest
        still = [listener.stillness.since for listener in listeners]
        report.still_since = max(still) if report.confirmed and all(still) else 0.0
        calls = [listener.watched.calls for listener in listeners]
        known = all(one.known for one in calls)
        report.silent = sum(one.silent for one in calls) if known else -1
        report.removing = sum(one.removing for one in calls) if known else -1
        report.unread_bytes = max(listener.unread_bytes for listener in listeners)
        sizes = [listener.sizes for listener in listeners if listener.sizes is not None]
        report.sizes = sum(map(Counter, sizes), Counter()) if len(sizes) == len(listeners) else None
        report.cpu_s = time.process_time()
        report.down = [["source", self.setup.sources[at].endpoint.address, why] for at, why in self.down.items()]

    # ---- what sources tell ----------------------------------------------------------------------------------

    def _told(self, listener: Listener) -> Told:
        dbs, named = set(self.setup.dbs), self.setup.filters.named

        def changed(db: int | None, keys: list[bytes]) -> None:
            listener.raw_events += len(keys)
            keys = named(keys)
            if db is not None and db not in dbs:
                return listener.named_database(db)
            self.events += len(keys)
            now = time.monotonic()
            for one in (db,) if db is not None else self.setup.dbs:
                self.dirty.add(one, keys, now)

        def flushed() -> None:
            listener.raw_events += 1
            listener.watched.flushed(time.monotonic())
            self._gap("the source was flushed, or loaded another data set")

        return Told(changed, flushed)

    def _gap(self, why: str) -> None:
        self.report.gaps.append(why)
        self._news()

    def _passed(self, fence: int) -> None:
        self.fences[fence] -= 1
        if not self.fences[fence]:
            del self.fences[fence]
            self.report.fences.append(fence)
            self._news()

    # ---- connections ----------------------------------------------------------------------------------------

    def _connect(self, listener: Listener) -> None:
        conn = FeedConnection(listener.number, listener.node, self.setup, self.poll, self._told(listener), self._turns)
        self.connections[conn.fd] = conn

        def heard() -> None:
            self.patience.clear()
            self.down.pop(listener.number, None)

        conn.when_ready = lambda: listener.begin(conn, heard)

    def _lost(self, lost: Lost) -> None:
        conn = lost.conn
        if isinstance(lost.error, (AccessError, ChangedError, NotConverged)):
            return self._fail(lost.error)
        number = conn.number if conn is not None else 0
        listener = self.listeners[number]
        if conn is not None:
            self.connections.pop(conn.fd, None)
            conn.close()
        if listener.confirmed:
            self._gap(f"the feed's {lost.error.message}")
        listener.lost()
        self.down[number] = lost.error.message
        self._turns += 1
        try:
            pause_s = self.patience.pause_s(("source", listener.node.endpoint.address))
        except TimeoutError as too_long:
            error = lost.error
            return self._fail(after_too_long(error, f"{error.message}, {too_long}"))
        self._later(pause_s, lambda: self._connect(listener))

    def _fail(self, error: KeyferryError) -> None:
        """The feed cannot go on; it says so when it is asked."""
        self.report.failure = self.report.failure or error.pack()
        for conn in self.connections.values():
            conn.close()
        self.connections.clear()
        self.timers.clear()
        self._news()

    def report_bug(self, bug: InternalError) -> None:
        """Tell the coordinator what has ended this, if it is still there."""
        with contextlib.suppress(OSError):
            self.pipe.send(FeedReport(failure=bug.pack()).pack())

    def close(self) -> None:
        """Close all connections."""
        for conn in self.connections.values():
            conn.close()
        self.poll.close()
        self.pipe.close()


def serve(pipe: Pipe) -> None:
    """The main function of the feed process: FeedSetup comes first over the pipe, then orders."""
    process.serve(pipe, lambda first: Feed(pipe, FeedSetup.unpack(first)))
