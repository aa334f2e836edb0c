"""The order of live copies: generations of changed keys, and the barrier before each. Pure: it says what to send.

THE RULE, AND WHY IT IS ENOUGH
    An event is settled only by a read that was sent after the event had arrived, and whose write was sent after every
    earlier read of possibly the same key was acknowledged. All keys that are dirty now form a generation. Then a
    barrier goes to every worker, who answers when every window that it had open at that moment is closed, and only then
    the generation is read. So:
     * the read comes after the event: it sees that change or a later one, whose own event is still to come;
     * whatever was read before, by a scan or by an earlier generation, has been written and acknowledged, and can no
       more arrive after what is read now;
     * a window that is opened after the barrier was sent reads a state that holds the changes already. It may overtake
       the generation's windows or be overtaken by them: a key that differs between the two reads has changed between
       them, so it is dirty again.
    Two generations with the same key are ordered by the same rule. Nothing is remembered a key, and no values are
    compared.

WHAT HAPPENS IF
    a window does not close within a second: it leaves the barrier, and its names are held back (`held`) until it is
    closed, each once, however often it changes meanwhile. One stuck window stops its own keys, not all others.
    a worker dies: its windows count as open until its connections are killed at the target (`fence.py`); then what it
    was given is dirty again. Until a window is acknowledged its names are kept here (`flights`), and those of the dead
    until they are given back (`lost`): at no moment are they nobody's, however long the target is out of reach.
    a key is slow to copy and always changing: it rests, and its event waits all the while (`slow_keys.py`).
    nothing is acknowledged: no more than MOST_IN_FLIGHT_BYTES of names are given out, and the others wait in the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from .slow_keys import Name, SlowKeys
from .workers.dirty import NAME_BYTES, Dirtied, DirtySet, wire_bytes

#: Names that a worker gets in one generation: few enough to be sent while the coordinator has other things to do.
WORKER_BYTES = 96 << 10
#: … in tasks of so many.
TASK_KEYS = 500
#: Names that are given out and not acknowledged, at most.
MOST_IN_FLIGHT_BYTES = 16 << 20
#: Marks are names that the run itself wants to be read again; they are bounded like those of the feed.
MOST_MARKED_BYTES = 256 << 20

Who = Hashable  # a worker


@dataclass
class Flight:
    """Names that a worker has, from when they were given out until they are acknowledged."""

    who: Who
    dirtied: Dirtied
    bytes: int
    node: int = 0  # that owns the keys


@dataclass
class _Held:
    """The names of a window that has left a barrier, and those of them that wait for it: each once, as it may be long.

    They are of one database, so that they wait together: since the first of their events, and up to the newest.
    """

    names: set[Name]
    waiting: list[Dirtied] = field(default_factory=list)  # one at most
    _known: set[bytes] = field(default_factory=set)  # the names that wait

    def wait(self, dirtied: Dirtied) -> None:
        """These wait, too; some of them may do so already."""
        new = [key for key in dirtied.keys if key not in self._known]
        self._known.update(new)
        if not self.waiting:
            self.waiting = [replace(dirtied, keys=new)]
            return
        (one,) = self.waiting
        one.keys += new
        one.oldest, one.newest = min(one.oldest, dirtied.oldest), max(one.newest, dirtied.newest)
        one.woken = min(one.woken, dirtied.woken)


class Generations:
    """Call `gather`, `begin`, `passed`, `dispatch`, `settled`, …; times are of `time.monotonic`."""

    def __init__(self) -> None:
        self.marked = DirtySet(MOST_MARKED_BYTES)
        self.gathered: list[Dirtied] = []  # what the next generation will consist of
        self.forming: list[Dirtied] = []  # the one whose barrier is under way: nothing is added to it
        self.barrier = 0  # the number of the one that is under way, or 0
        self.waits_for: set[Who] = set()
        self.flights: dict[int, Flight] = {}
        self.in_flight_bytes = 0
        self.held: dict[tuple[Who, int], _Held] = {}
        self.lost: list[Dirtied] = []  # what dead workers had, until nothing more of them can arrive
        self.slow = SlowKeys()
        self._barriers = 0

    # ---- what waits -----------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is under way, and nothing rests."""
        return not (len(self.marked) or self._awake or self.barrier or self.held or self.slow.resting)

    @property
    def landed(self) -> bool:
        """No window of a generation is open, of a dead worker either, and no barrier is under way; names may wait."""
        return not (self.barrier or self.flights or self.held or self.lost)

    def __len__(self) -> int:
        """Names that are not settled."""
        return len(self.marked) + sum(len(one.keys) for one in [*self._awake, *self.slow.resting])

    @property
    def oldest(self) -> float:
        """When the event arrived that is unsettled for longest, 0 where none is; those of keys that rest count too."""
        return _first([self.marked.oldest, *(one.oldest for one in [*self._awake, *self.slow.resting])])

    @property
    def behind_since(self) -> float:
        """From when on the target is behind, 0 where it is not; keys that rest do not count."""
        return _first([self.marked.oldest, *(one.behind_since for one in self._awake)])

    @property
    def _awake(self) -> list[Dirtied]:
        """What is taken and not settled, without what rests."""
        flying = [flight.dirtied for flight in self.flights.values()]
        held = [one for held in self.held.values() for one in held.waiting]
        return [*self.gathered, *self.forming, *flying, *held, *self.lost]

    @property
    def full(self) -> bool:
        """So much is given out that nothing more is, before some of it is acknowledged."""
        return self.in_flight_bytes >= MOST_IN_FLIGHT_BYTES

    def mark(self, db: int, keys: Iterable[bytes], now: float) -> None:
        """These are to be read again, though no event has told of them."""
        self.marked.add(db, keys, now)

    def again(self, dirtied: Iterable[Dirtied]) -> None:
        """These were taken, and have to be taken once more."""
        self.gathered += dirtied

    def room_bytes(self, workers: int) -> int:
        """Names of so many bytes are welcome in the next generation; 0 while too much is given out."""
        if self.full:
            return 0
        return max(0, WORKER_BYTES * workers - sum(map(wire_bytes, self.gathered)))

    # ---- a generation ---------------------------------------------------------------------------------------

    def begin(self, workers: Iterable[Who], now: float) -> int:
        """Form a generation of what is dirty; the number of the barrier that goes to these workers. 0: none is due."""
        workers = set(workers)
        self.gathered += self.slow.wake(now)  # what has rested joins this generation
        room = self.room_bytes(len(workers))
        if room and len(self.marked):
            # What the run marks itself is no sign of a writer.
            self.gathered += [Dirtied(one.db, one.keys, one.oldest, 0.0) for one in self.marked.take(room)]
        if not self.gathered or self.barrier or not workers or self.full:
            return 0
        return self.raise_barrier(workers)

    def raise_barrier(self, workers: Iterable[Who]) -> int:
        """A barrier whatever is dirty; its number."""
        self._barriers += 1
        self.barrier, self.waits_for = self._barriers, set(workers)
        room = WORKER_BYTES * len(self.waits_for)
        while self.gathered and (room > 0 or not self.forming):
            self.forming.append(self.gathered.pop(0))
            room -= wire_bytes(self.forming[-1])
        return self.barrier

    def passed(self, who: Who, barrier: int, left: list[list]) -> None:
        """A worker has passed a barrier; the windows that have left it are held back: [number, database, names]."""
        for number, db, keys in left:
            self.held[who, number] = _Held({(db, key) for key in keys})
        if barrier == self.barrier:
            self.waits_for.discard(who)

    def closed(self, who: Who, window: int) -> None:
        """A window that had left a barrier is closed: its names are free."""
        held = self.held.pop((who, window), None)
        if held:
            self.gathered += held.waiting

    def dispatch(
        self,
        workers: Sequence[Who],
        first_id: int,
        now: float,
        by_node: Callable[[list[bytes]], list[tuple[int, list[bytes]]]] = lambda keys: [(0, keys)],
    ) -> dict[int, Flight]:
        """The generation by task number, once its barrier is passed; the names count as given out from now on."""
        self.barrier = 0
        forming, self.forming = self.forming, []
        flights: dict[int, Flight] = {}
        at = first_id
        for dirtied in _each_once(forming):
            for chunk in self._free(dirtied, now):
                for node, keys in by_node(chunk.keys):
                    part = replace(chunk, keys=keys)
                    flights[at] = Flight(workers[at % len(workers)], part, _size(part), node)
                    self.in_flight_bytes += flights[at].bytes
                    at += 1
        self.flights |= flights
        return flights

    def _free(self, dirtied: Dirtied, now: float) -> list[Dirtied]:
        """Those names that may be read now, in tasks; slow ones alone."""
        keys = dirtied.keys
        if self.held:
            keys = self._hold_back(dirtied, keys)
        alone: list[bytes] = []
        if self.slow.known:
            keys, alone = self.slow.sift(dirtied, keys, now)
        parts = [keys[at : at + TASK_KEYS] for at in range(0, len(keys), TASK_KEYS)] + [[key] for key in alone]
        return [replace(dirtied, keys=part) for part in parts]

    def _hold_back(self, dirtied: Dirtied, keys: list[bytes]) -> list[bytes]:
        for held in self.held.values():
            waiting = [key for key in keys if (dirtied.db, key) in held.names]
            if waiting:
                held.wait(replace(dirtied, keys=waiting))
                keys = [key for key in keys if (dirtied.db, key) not in held.names]
        return keys

    # ---- ends -----------------------------------------------------------------------------------------------

    def settled(self, task: int) -> Dirtied | None:
        """A task is acknowledged; what it was about."""
        flight = self.flights.pop(task, None)
        if flight is None:
            return None
        self.in_flight_bytes -= flight.bytes
        return flight.dirtied

    def died(self, who: Who) -> list[Dirtied]:
        """A worker is gone: what it had. It is `given_back` once nothing that the worker sent can arrive any more."""
        self.waits_for.discard(who)
        tasks = [task for task, flight in self.flights.items() if flight.who == who]
        lost = [dirtied for task in tasks if (dirtied := self.settled(task))]
        for key in [key for key in self.held if key[0] == who]:
            lost += self.held.pop(key).waiting
        self.lost += lost
        return lost

    def given_back(self, dirtied: Dirtied) -> None:
        """Something that a dead worker had is dirty again."""
        self.lost.remove(dirtied)
        self.gathered.append(dirtied)


def _each_once(generation: list[Dirtied]) -> list[Dirtied]:
    """The same without repetition: a name stays with the oldest of its events, and the newest one is remembered."""
    owners: dict[Name, Dirtied] = {}
    once = []
    for dirtied in sorted(generation, key=lambda one: (not one.newest, one.oldest)):  # marks, without events, are last
        own = replace(dirtied, keys=[])
        once.append(own)
        for key in dict.fromkeys(dirtied.keys):
            owner = owners.setdefault((dirtied.db, key), own)
            if owner is own:
                own.keys.append(key)
            owner.newest = max(owner.newest, dirtied.newest)
    return once


def _first(times: list[float]) -> float:
    """The earliest of those that are known."""
    return min((time for time in times if time), default=0.0)


def _size(dirtied: Dirtied) -> int:
    """What names take in memory."""
    return sum(map(len, dirtied.keys)) + NAME_BYTES * len(dirtied.keys)
