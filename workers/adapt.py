"""How many lanes a worker uses: more over a long distance, as few as will do over a short one.

HOW IT WORKS
    A lane waits most of its time: for the way there and back, and for its turn at the servers. The shortest time that
    a window ever took is about the way alone. As long as windows take not much more, no queue has formed, so the
    servers have time left, and more lanes bring more keys a second: they are doubled. The search ends where that does
    not help. Where windows take many times longer than the way, most lanes only stand in a queue: they are halved,
    and the queue still never empties.

    Both signs are needed. The rate alone changes with everything that else goes on at the servers, and a search that
    follows it alone wanders. The queue alone does not show that something else is the limit, such as the line itself.

LIMITATION
    A worker gets more tasks only as long as there are any: a small database has few ranges, and needs few lanes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: More lanes are tried while windows take no longer than so many times the way …
SHORT_QUEUE = 3.0
#: … and fewer will do when they take longer than so many times.
LONG_QUEUE = 12.0
#: Twice the lanes must bring so much more, or they are given up again.
GAIN = 1.1
#: After lanes were given up, so many intervals pass until they are tried again; twice as many after the next time.
FIRST_REST, LONGEST_REST = 4, 64
#: An interval lasts so long, and at least so many times as long as a window takes …
INTERVAL_S = 0.2
INTERVAL_WINDOWS = 3
#: … and begins so many windows' time after the number of lanes was changed.
SETTLING_WINDOWS = 2


@dataclass(frozen=True)
class Climb:
    """Where the search stands; `next` makes the next step of it, and is pure."""

    least: int  # enough to keep both servers busy over a short distance
    most: int  # each lane holds windows and names of keys in memory
    lanes: int
    proved: int  # so many are worth having; more than these are being tried
    rate: float = 0.0  # keys a second with the proved ones
    rest: int = 0  # intervals until more are tried again
    next_rest: int = FIRST_REST

    def next(self, rate: float, stretch: float) -> Climb:
        """After an interval with `rate` keys a second, whose windows took `stretch` times the shortest time."""
        if self.lanes > self.proved and rate < GAIN * self.rate:
            longer = min(LONGEST_REST, 2 * self.next_rest)
            return replace(self, lanes=self.proved, rest=self.next_rest, next_rest=longer)
        lanes = self.lanes
        if stretch > LONG_QUEUE:
            lanes = max(self.least, lanes // 2)
        elif stretch < SHORT_QUEUE and not self.rest:
            lanes = max(lanes, min(self.most, 2 * lanes))
        return replace(self, lanes=lanes, proved=min(lanes, self.lanes), rate=rate, rest=max(0, self.rest - 1))


def climb_from(least: int, most: int) -> Climb:
    """The search at its beginning."""
    return Climb(least, most, lanes=least, proved=least)


class Meter:
    """What the windows of a worker tell when they are settled: how many keys, and how long they took."""

    def __init__(self) -> None:
        self.keys = self.windows = 0
        self.seconds = 0.0
        self.shortest_s = 0.0  # of any window so far; 0 = there was none
        self.began_at = math.inf  # no interval has begun
        self.went_on = False  # a window was settled, not only by putting its keys aside, since that was looked at last

    def begin(self, at: float) -> None:
        """Begin an interval; `at` may be still to come."""
        self.keys = self.windows = 0
        self.seconds = 0.0
        self.began_at = at

    def add(self, keys: int, opened_at: float, now: float) -> None:
        """Take in a settled window."""
        took_s = now - opened_at
        if took_s < self.shortest_s or not self.shortest_s:
            self.shortest_s = took_s
        if self.began_at == math.inf:
            self.begin(now)
        if now >= self.began_at:
            self.keys += keys
            self.windows += 1
            self.seconds += took_s

    @property
    def window_s(self) -> float:
        """How long a window took in this interval, on average."""
        return self.seconds / self.windows if self.windows else 0.0

    def is_over(self, now: float) -> bool:
        """Whether the interval has lasted long enough to tell something."""
        lasted = now - self.began_at
        return lasted > INTERVAL_S and self.windows > 0 and lasted > INTERVAL_WINDOWS * self.window_s

    def step(self, climb: Climb, now: float) -> Climb:
        """The next step of the search, by this interval; the next one begins."""
        after = climb.next(self.keys / (now - self.began_at), self.window_s / max(self.shortest_s, 1e-6))
        self.begin(now if after.lanes == climb.lanes else now + SETTLING_WINDOWS * self.window_s)
        return after
