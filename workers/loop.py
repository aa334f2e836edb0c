"""A worker process: one event loop over the pipe to the coordinator and the connections of its links.

    coordinator ── Setup, Order ─→ ┌─ loop ─────────────────────────────────┐
                ←── Report ─────── │ lanes ─ windows ─ source and target     │
                                   └────────────────────────────────────────┘

It ends when it is told to, or when the pipe closes: a coordinator that was killed leaves no worker behind.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from . import process
from .adapt import Meter, climb_from
from .barrier import PUBLISH_S, Windows
from .conn import Connection, Lost
from .errors import InternalError, KeyferryError, StateError
from .lanes import Lanes
from .link import Link
from .links import Events, Links
from .list_lane import ListLane
from .news import Report
from .pace import Pace
from .patience import Patience
from .pipe import Pipe
from .setup import Order, Setup
from .task import COPY_KEYS, LIVE_KEYS, Task

#: News goes up so often: each time costs both processes, and what is not told yet is done again after a death …
REPORT_S = 0.2
#: … and a sign of life, also without news.
HEARTBEAT_S = 0.5
#: The number of lanes is as wanted when it is off by less than this share: some have just ended, or end soon.
FULL = 0.75


class Worker:
    """The loop and what it holds. `pipe` is the end of one to the coordinator."""

    def __init__(self, pipe: Pipe, setup: Setup) -> None:
        self.pipe, self.setup = pipe, setup
        self.poll = select.epoll()
        self.poll.register(pipe.fileno(), select.EPOLLIN)
        self.patience = Patience(setup.retry_for_s)
        events = Events(self._later, self._wait, self._link_ready, self._connected)
        self.links = Links(setup, self.poll, self.patience, events)
        self.meter = Meter()
        self.climb = climb_from(setup.lanes, setup.most_lanes)
        self.lanes: dict[int, Any] = {}
        self.queue: deque[Task] = deque()  # tasks whose database has no link yet, and no room for one
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.pace = Pace(self._later) if setup.paced else None
        self.windows = Windows(self._report_at_once) if setup.live else None
        self.makes = Lanes(setup, self.meter, self.pace, self._changed, self._later, self.windows)
        self.report = Report(free=setup.lanes)
        self.has_news = True
        self.reported_at = 0.0
        self.draining = False
        self.quit = False

    # ---- the loop -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to quit, or until the coordinator is gone."""
        while not self.quit:
            try:
                self._turn()
            except Lost as lost:
                self._lost(lost)
            except KeyferryError as error:
                self._fail(error)

    def _turn(self) -> None:
        connections = self.links.connections
        for conn in list(connections.values()):
            if conn.wants_flush:
                conn.flush()
        for fd, events in self.poll.poll(self._patience()):
            if fd == self.pipe.fileno():
                self._obey()
            elif (found := connections.get(fd)) is not None:
                found.on_event(events)
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()
        if self.meter.is_over(now):
            self._adapt(now)
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

    def _adapt(self, now: float) -> None:
        """Have more lanes or fewer, as an interval advises that had as many as wanted, and budget enough."""
        wanted, used = self.climb.lanes, len(self.lanes)
        if used < FULL * wanted or wanted < FULL * used or any(budget.short for budget in self.links.budgets):
            return self.meter.begin(now)
        before, self.climb = self.climb, self.meter.step(self.climb, now)
        if self.climb.lanes > before.lanes:
            self.has_news, self.reported_at = True, 0.0  # ask for tasks at once

    # ---- orders ---------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        try:
            order = Order.unpack(self.pipe.receive())
        except (EOFError, OSError):
            self.quit = True
            return
        self.quit = order.quit
        if order.shifts is not None:
            self.links.set_shifts(order.shifts)
        if order.unread_bytes is not None:
            self.links.share_out(order.unread_bytes)
        if order.credit:
            for lane in [lane for lane in self.lanes.values() if isinstance(lane, ListLane)]:
                lane.grant(order.credit)
        if order.share and self.pace:
            self.pace.change(order.share)
        self.makes.hear(order)
        if order.barrier and self.windows:
            self._wait_for_windows(self.windows, order.barrier)
        for task in order.tasks:
            if task.kind == LIVE_KEYS:
                self.queue.appendleft(task)  # it must not wait for a range to end
            else:
                self.queue.append(task)
        if order.drain:
            self._drain()
        self._start_queued()

    def _wait_for_windows(self, windows: Windows, barrier: int) -> None:
        windows.barrier(barrier)
        self._later(PUBLISH_S, lambda: windows.publish(barrier))

    def _drain(self) -> None:
        self.draining = True
        self.queue.clear()
        for lane in list(self.lanes.values()):
            lane.stop()
        self.has_news = True

    def _start_queued(self) -> None:
        """Give tasks of the queue their lanes, as far as links allow, in order.

        Names that a scanner has handed up go before those that wait for room: it may hold the link that they wait for,
        and goes on only once these are copied.
        """
        waiting: deque[Task] = deque()
        try:
            while self.queue and not self.draining:
                task = self.queue.popleft()
                if (waiting and task.kind != COPY_KEYS) or (found := self.links.get(task)) is None:
                    waiting.append(task)
                    continue
                link, chooser = found
                link.lanes += 1
                lane = self.lanes[task.id] = self.makes.make(task, link, chooser)
                if link.ready:
                    lane.go()
        finally:
            self.queue.extendleft(reversed(waiting))

    # ---- troubles -------------------------------------------------------------------------------------------

    def _connected(self, conn: Connection) -> None:
        self.report.clients.append([conn.side, conn.number, conn.handshake.client_id])
        if conn.fence_missing:
            self.report.unfenced = f"{conn.side} {conn.endpoint.address}: it tells no CLIENT ID"
        if conn.fence_refused:
            self.report.unfenced = f"{conn.side} {conn.endpoint.address}: {conn.fence_refused}"
        # The CLIENT ID goes up before anything is written: should this process be killed, the coordinator knows what
        # it has to fence.
        self._send_report()

    def _link_ready(self, link: Link) -> None:
        if link.source:
            # What a proxy tells about the database may be about another shard.
            read = [conn for conn in link.connections if conn.node.read]
            link.no_expiries = link.no_expiries and all(conn.handshake.direct for conn in read)
            known = all(conn.handshake.direct or not conn.node.fields_may_expire for conn in read)
            link.no_field_expiries = link.no_field_expiries and known
        for lane in [lane for lane in self.lanes.values() if lane.link is link]:
            lane.go()

    def _lost(self, lost: Lost) -> None:
        """A connection is gone: it gets a successor, or the run has to end."""
        try:
            self.links.lost(lost)
            self._report_at_once()
        except KeyferryError as error:
            self._fail(error)

    def _wait(self, side: str, address: str, reason: str, hint: str, again: Callable[[], None]) -> None:
        try:
            pause_s = self.patience.pause_s((side, address))
        except TimeoutError as too_long:
            raise StateError(f"{reason} {too_long}", side=side, address=address, hint=hint) from None
        self.report.waiting = f"{side} {reason}"
        self.has_news = True
        self._later(pause_s, again)

    def _later(self, pause_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.timers, (time.monotonic() + pause_s, next(self._serial), action))

    # ---- reports --------------------------------------------------------------------------------------------

    def _changed(self, lane: Any) -> None:
        """A lane has news that should go up with this turn."""
        self.has_news = True
        if lane.ended:
            self._report_at_once()

    def _report_at_once(self) -> None:
        """With this turn of the loop, not only when news are due."""
        self.has_news = True
        self.reported_at = 0.0

    def _report_when_due(self, now: float) -> None:
        if now - self.reported_at >= (REPORT_S if self.has_news or self.lanes else HEARTBEAT_S):
            self._collect()
            self._start_queued()
            self._send_report()
            for conn in list(self.links.connections.values()):
                conn.check_deadline(now)

    def _collect(self, last: bool = False) -> None:
        goes_on, self.meter.went_on = self.meter.went_on, False  # a task may tell nothing before its last window
        for task_id, lane in list(self.lanes.items()):
            ended = lane.ended
            for news in lane.news(last):
                self.report.progress.append(news)
                goes_on = goes_on or news.counts.tell_of_success
            if ended:
                del self.lanes[task_id]
                lane.link.lanes -= 1
        if goes_on:
            self.patience.clear()
            self.report.waiting = ""

    def _send_report(self) -> None:
        report = self.report
        report.free = 0 if self.draining else self.climb.lanes - len(self.lanes) - len(self.queue)
        report.cpu_s = time.process_time()
        report.latencies = self.links.latencies.take()
        report.drained = self.draining and not self.lanes
        report.down = [[conn.side, conn.endpoint.address, why] for conn, why in self.links.down.items()]
        report.held_by = self.pace.held_by() if self.pace else ""
        if self.windows:
            report.passed, report.closed = self.windows.take()
            report.sent, report.made_at = self.links.sent, time.monotonic()
        try:
            self.pipe.send(report.pack())
        except OSError:
            self.quit = True
        self.report = Report(waiting=report.waiting)
        self.has_news = False
        self.reported_at = time.monotonic()

    def report_bug(self, bug: InternalError) -> None:
        """Tell the coordinator what has ended this, unless it knows of an error already."""
        self.report.failure = self.report.failure or bug.pack()
        self._send_report()

    def close(self) -> None:
        """Close all connections."""
        self.links.close()
        self.poll.close()
        self.pipe.close()


def serve(pipe: Pipe) -> None:
    """The main function of a worker process: Setup comes first over the pipe, then orders."""
    process.let_others_finish()
    process.serve(pipe, lambda first: Worker(pipe, Setup.unpack(first)))
