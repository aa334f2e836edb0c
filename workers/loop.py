"""A worker process: one event loop over the pipe to the coordinator and the connections of its links.

    coordinator ── Setup, Order ─→ ┌─ loop ─────────────────────────────────┐
                ←── Report ─────── │ lanes ─ windows ─ source and target     │
                                   └────────────────────────────────────────┘

It ends when it is told to, or when the pipe closes: a coordinator that was killed leaves no worker behind.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .choose import Chooser
from .conn import Connection, Lost
from .errors import InternalError, KeyferryError, StateError
from .lane import Lane
from .link import Link
from .produce import GenerateLane, ListLane
from .synth import unpack as unpack_spec
from .task import COPY_KEYS, COPY_RANGE, GENERATE, Order, Report, Setup, Task
from .write import Router, Sink

#: News goes up so often …
REPORT_S = 0.1
#: … and a sign of life, also without news.
HEARTBEAT_S = 0.5
#: A server's state is looked at again after at least so long, at most so long, with decorrelated jitter.
WAIT_MIN_S, WAIT_MAX_S = 0.05, 2.0


class Worker:
    """The loop and what it holds. `pipe` is a multiprocess Connection."""

    def __init__(self, pipe: Any, setup: Setup) -> None:
        self.pipe, self.setup = pipe, setup
        self.poll = select.epoll()
        self.poll.register(pipe.fileno(), select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        self.links: dict[tuple[int, int, int], tuple[Link, Chooser]] = {}
        self.lanes: dict[int, Any] = {}
        self.queue: deque[Task] = deque()  # tasks whose database has no link yet, and no room for one
        self.clock = setup.clock
        self.spec = unpack_spec(setup.synth) if setup.synth else None
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.report = Report(free=setup.lanes)
        self.has_news = True
        self.reported_at = 0.0
        self.draining = False
        self.quit = False
        self._waits: dict[tuple[str, str], tuple[float, float]] = {}  # (side, address): since when, last pause

    # ---- the loop -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to quit, or until the coordinator is gone."""
        while not self.quit:
            try:
                self._turn()
            except Lost as lost:
                self._fail(lost.error)
            except KeyferryError as error:
                self._fail(error)

    def _turn(self) -> None:
        for conn in list(self.connections.values()):
            if conn.wants_flush:
                conn.flush()
        for fd, events in self.poll.poll(self._patience()):
            if fd == self.pipe.fileno():
                self._obey()
            elif (found := self.connections.get(fd)) is not None:
                found.on_event(events)
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()
        self._report_when_due(now)

    def _patience(self) -> float:
        """Seconds until something is due that no socket announces."""
        due = self.reported_at + (REPORT_S if self.has_news or self.lanes else HEARTBEAT_S)
        if self.timers:
            due = min(due, self.timers[0][0])
        return max(0.0, due - time.monotonic())

    def _fail(self, error: KeyferryError) -> None:
        """Tell why the run cannot go on, and what was acknowledged until then."""
        self._collect(last=True)
        self.report.failure = self.report.failure or error.pack()
        self._send_report()
        self.quit = True

    # ---- orders ---------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        try:
            order = Order.unpack(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.quit = True
            return
        self.quit = order.quit
        if order.shift_ms is not None:
            self.clock = type(self.clock)(self.clock.absolute, order.shift_ms)
            for link, _ in self.links.values():
                link.clock = self.clock
        if order.credit:
            for lane in [lane for lane in self.lanes.values() if isinstance(lane, ListLane)]:
                lane.grant(order.credit)
        self.queue.extend(order.tasks)
        if order.drain:
            self._drain()
        self._start_queued()

    def _drain(self) -> None:
        self.draining = True
        self.queue.clear()
        for lane in list(self.lanes.values()):
            lane.stop()
        self.has_news = True

    def _start_queued(self) -> None:
        """Give tasks of the queue their lanes, as far as links allow, in order."""
        while self.queue and not self.draining:
            task = self.queue[0]
            key = (task.node, task.db, task.target_db)
            if key not in self.links and not self._make_room():
                return
            self.queue.popleft()
            link, chooser = self.links.get(key) or self._open_link(key, task)
            link.lanes += 1
            lane = self.lanes[task.id] = self._lane(task, link, chooser)
            if link.ready:
                lane.go()

    def _lane(self, task: Task, link: Link, chooser: Chooser) -> Any:
        if task.kind in (COPY_RANGE, COPY_KEYS):
            return Lane(task, link, chooser, self.setup.scan_count, self._changed)
        if task.kind == GENERATE:
            assert self.spec is not None
            return GenerateLane(task, link, self.spec, self._changed)
        return ListLane(task, link, self.setup.scan_count, self._changed)

    # ---- links ----------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Whether another link may be opened; an idle one makes way."""
        if len(self.links) < self.setup.links:
            return True
        idle = next((key for key, (link, _) in self.links.items() if not link.lanes), None)
        if idle is None:
            return False
        for conn in self.links.pop(idle)[0].connections:
            del self.connections[conn.fd]
            conn.close()
        return True

    def _open_link(self, key: tuple[int, int, int], task: Task) -> tuple[Link, Chooser]:
        setup = self.setup
        sinks = [Sink(n, self._connect("target", n, task.target_db)) for n in range(len(setup.targets))]
        reads = task.kind != GENERATE
        source = self._connect("source", task.node, task.db) if reads else None
        limit = min(node.max_value_bytes for node in setup.targets)
        link = Link(source, Router(sinks), self.clock, self._wait, task.db, limit, task.no_expiries)
        for conn in link.connections:
            conn.when_ready = lambda: self._ready(link)
        self.links[key] = link, Chooser(setup.method, setup.batch_keys)
        return self.links[key]

    def _connect(self, side: str, node: int, db: int) -> Connection:
        where = (self.setup.sources if side == "source" else self.setup.targets)[node]
        name = where.endpoint.client_name or f"keyferry:{self.setup.job}:{self.setup.epoch}"
        conn = Connection(side, where, db, name, self.poll)
        self.connections[conn.fd] = conn
        return conn

    def _ready(self, link: Link) -> None:
        """A connection of the link has been through its handshake; with the last one its lanes begin."""
        if not link.ready:
            return
        if link.source:
            # What a proxy tells about the database may be about another shard.
            link.no_expiries = link.no_expiries and link.source.direct
        nodes = [("source", 0, link.source)] if link.source else []
        nodes += [("target", sink.node, sink.conn) for sink in link.router.sinks]
        self.report.clients += [[side, node, conn.client_id] for side, node, conn in nodes]
        for lane in [lane for lane in self.lanes.values() if lane.link is link]:
            lane.go()

    # ---- states that pass -----------------------------------------------------------------------------------

    def _wait(self, side: str, address: str, reason: str, hint: str, again: Callable[[], None]) -> None:
        now = time.monotonic()
        since, pause = self._waits.get((side, address), (now, WAIT_MIN_S))
        if now - since > self.setup.retry_for_s:
            raise StateError(f"{reason} for {now - since:.0f} s", side=side, address=address, hint=hint)
        pause = min(WAIT_MAX_S, random.uniform(WAIT_MIN_S, pause * 3))
        self._waits[side, address] = since, pause
        self.report.waiting = f"{side} {reason}"
        self.has_news = True
        heapq.heappush(self.timers, (now + pause, next(self._serial), again))

    # ---- reports --------------------------------------------------------------------------------------------

    def _changed(self, lane: Any) -> None:
        """A lane has news that should go up with this turn."""
        self.has_news = True
        if lane.ended:
            self.reported_at = 0.0

    def _report_when_due(self, now: float) -> None:
        if now - self.reported_at >= (REPORT_S if self.has_news or self.lanes else HEARTBEAT_S):
            self._collect()
            self._start_queued()
            self._send_report()
            for conn in self.connections.values():
                conn.check_deadline(now)

    def _collect(self, last: bool = False) -> None:
        for task_id, lane in list(self.lanes.items()):
            ended = lane.ended
            for news in lane.news(last):
                self.report.progress.append(news)
                if news.counts.copied:
                    self._waits.clear()
                    self.report.waiting = ""
            if ended:
                del self.lanes[task_id]
                lane.link.lanes -= 1

    def _send_report(self) -> None:
        report = self.report
        report.free = 0 if self.draining else self.setup.lanes - len(self.lanes) - len(self.queue)
        report.cpu_s = time.process_time()
        report.drained = self.draining and not self.lanes
        try:
            self.pipe.send_bytes(report.pack())
        except OSError:
            self.quit = True
        self.report = Report(waiting=report.waiting)
        self.has_news = False
        self.reported_at = time.monotonic()

    def close(self) -> None:
        """Close all connections."""
        for conn in self.connections.values():
            conn.close()
        self.poll.close()
        self.pipe.close()


def serve(pipe: Any) -> None:
    """The main function of a worker process: Setup comes first over the pipe, then orders."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A terminal signals the whole group; the coordinator decides, and tells us over the pipe.
        signal.signal(ignored, signal.SIG_IGN)
    try:
        worker = Worker(pipe, Setup.unpack(pipe.recv_bytes()))
    except (EOFError, OSError):
        return
    try:
        worker.run()
    except Exception as error:
        _report_bug(worker, error)
    finally:
        worker.close()


def _report_bug(worker: Worker, error: Exception) -> None:
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(last.filename)}:{last.lineno}"
    bug = InternalError(f"{type(error).__name__}: {error} ({where})", hint="please report this with the command line")
    worker.report.failure = worker.report.failure or bug.pack()
    worker._send_report()
