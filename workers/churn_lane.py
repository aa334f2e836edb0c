"""The lane that keeps changing a synthetic data set, at a pace. It has the shape of `lane.Lane`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .churn import Churn, outcome, run_of_changes
from .churn_operations import Change
from .conn import Lost
from .errors import RunError
from .link import Link
from .news import Counts, Progress
from .policy import Action, rule_for
from .task import Task

#: Changes leave so often.
TICK_S = 0.01
#: A tick that is late brings what has come due since the last one, but of so long at most …
LATE_S = 0.1
#: … and a little of what was left over before: it is made up for by and by.
CATCH_UP_S = 0.02
#: Who is later than this does not make up for the rest.
DEBT_S = 1.0
#: Changes on their way, counted in seconds of the pace, and in bytes: a server that is slow is not flooded.
OPEN_S = 0.25
OPEN_BYTES = 8 << 20
#: … of which one tick brings no more than this, whatever is due: the lane has to come back to look at its time.
SEND_BYTES = 1 << 20
#: … but so many changes may always be on their way: a slow pace is no reason to wait for a far server.
OPEN_LEAST = 64

Later = Callable[[float, Callable[[], None]], None]  # in so many seconds, do this

_FOREIGN_HINT = "use --keys, --prefix, --types, --size, --elements, --seed and --binary that the keys were written with"


class Schedule:
    """How many changes are due, `rate` a second; times are of `time.monotonic`."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._at = now
        self._owed = 0.0

    def due(self, now: float) -> int:
        """As many are to be sent now, and count as sent from now on."""
        passed_s, self._at = now - self._at, now
        self._owed = min(self._owed + passed_s * self.rate, max(1.0, DEBT_S * self.rate))
        count = int(min(self._owed, max(1.0, (min(passed_s, LATE_S) + CATCH_UP_S) * self.rate)))
        self._owed -= count
        return count

    def give_back(self, count: int) -> None:
        """So many changes turned out to be none."""
        self._owed += count


class ChurnLane:
    """Makes changes for the milliseconds [start, end) of its task; at its position, all that was sent is answered.

    A change that was sent is never sent again: it adds something. What a lost worker had on its way is not counted.
    """

    def __init__(self, task: Task, link: Link, churn: Churn, later: Later, changed: Callable[[Any], None]) -> None:
        self.task, self.link, self.churn, self.later, self.changed = task, link, churn, later, changed
        self.open = 0  # requests without an answer
        self.stopping = False
        self._done = False  # its time is over
        self._began_at = self._answered_at = 0.0
        self._schedule: Schedule | None = None
        self._runs = 0
        self._ready: list[Change] = []  # drawn and not sent
        self._open_changes = self._open_bytes = 0
        self._waiting = False  # for the server's state to pass
        self._counts = Counts()

    def go(self) -> None:
        """Begin, once."""
        if self._schedule is None and not self.stopping:
            self._began_at = self._answered_at = time.monotonic()
            self._schedule = Schedule(self.churn.rate, self._began_at)
            self._tick(self._schedule)
        if self.ended:
            self.changed(self)

    def stop(self) -> None:
        """Change nothing more; what is on its way is finished."""
        self.stopping = True
        self.go()

    @property
    def ended(self) -> bool:
        """Nothing is on its way, and nothing more will be sent."""
        return self.stopping and not self.open

    def _tick(self, schedule: Schedule) -> None:
        """Send what is due, and come again."""
        now = time.monotonic()
        if self._position(now) >= self.task.end:
            self._done = True
            self.stop()
        if self.stopping:
            return
        if not self._waiting and self._has_room():
            self._send(schedule, schedule.due(now))
        self.later(TICK_S, lambda: self._tick(schedule))

    def _position(self, at: float) -> int:
        began = self._schedule is not None
        return self.task.start + (round(1000 * (at - self._began_at)) if began else 0)

    def _has_room(self) -> bool:
        most = max(OPEN_LEAST, OPEN_S * self.churn.rate)
        return self._open_changes < most and self._open_bytes < OPEN_BYTES

    def _send(self, schedule: Schedule, count: int) -> None:
        changes = self._take(count)
        schedule.give_back(count - len(changes))
        if not changes:
            return
        request = b"".join([change.command for change in changes])
        self.open += 1
        self._open_changes += len(changes)
        self._open_bytes += len(request)

        def answered(replies: list) -> None:
            self.open -= 1
            self._open_changes -= len(changes)
            self._open_bytes -= len(request)
            self._answered_at = time.monotonic()
            idle, refused = outcome(changes, replies)
            schedule.give_back(idle)
            self._counts.add(Counts(copied=len(changes) - idle - len(refused), idle=idle, bytes=len(request)))
            if refused:
                self._refused(refused[0])
            if self.ended:
                self.changed(self)

        self.link.router.sinks[0].write(request, sum([change.replies for change in changes]), answered)

    def _take(self, count: int) -> list[Change]:
        """The next `count` changes; fewer where they are many bytes, or no key suits the operations of a run."""
        taken: list[Change] = []
        taken_bytes = 0
        while len(taken) < count and taken_bytes < SEND_BYTES:
            if not self._ready:
                self._ready = run_of_changes(self.churn, f"{self.task.id}:{self._runs}")
                self._runs += 1
                if not self._ready:
                    break
            missing = count - len(taken)
            taken_bytes += sum([len(change.command) for change in self._ready[:missing]])
            taken += self._ready[:missing]
            del self._ready[:missing]
        return taken

    def _refused(self, error: Exception) -> None:
        """Wait for a state that passes; the changes that it refused are not made up for. Raises Lost for the rest."""
        rule = rule_for(error)
        if rule.action in (Action.OTHER_METHOD, Action.PUT_ASIDE):
            address = self.link.router.sinks[0].conn.endpoint.address
            foreign = rule.action is Action.OTHER_METHOD
            text = "a key is not of the type that generate gives it" if foreign else "a change was refused"
            hint = _FOREIGN_HINT if foreign else rule.hint
            raise Lost(RunError(f"{text}: {error}", side="target", address=address, hint=hint))
        if not self._waiting:
            self._waiting = True
            self.link.trouble("target", 0, error, self._resume)

    def _resume(self) -> None:
        self._waiting = False

    def news(self, last: bool = False) -> list[Progress]:
        """What was answered since the last call: nothing or one."""
        if not (self._counts.copied or self._counts.idle or self.ended):
            return []
        position = self._position(self._answered_at if self.open else time.monotonic())
        news = Progress(self.task.id, position, self._counts, finished=self.ended and self._done)
        self._counts = Counts()
        return [news]
