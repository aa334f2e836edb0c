"""A link: one database of one source node, joined to its database at the target, by one worker.

It has a connection to its source node, and those to all nodes of the target, which links to the same database share
(`links.py`); and everything that the windows on it share: how expiries are told, whether keys of this database expire
at all, and what is done when a server is in trouble.

A connection that was lost is replaced. Whoever had asked something on it gets GONE for a reply, says `trouble`, and
is called again when all connections of the link are there: windows begin from their reads, as the source may hold
other values by now, and every write replaces a whole key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from .batch import Batch
from .conn import Connection, Lost
from .errors import InternalError, RunError
from .expiry import Clock
from .filters import Filters, Question
from .look import Lens
from .policy import Action, Gone, rule_for
from .read import in_one_moment, moment_of
from .redirects import Redirect, redirect_of
from .replies import Then, Way
from .router import Router, Sink
from .structs.ask import Times
from .suspects import Suspects
from .unparsed import Takers
from .write import ONLY_NEW, REPLACING, Writes

#: A window of fewer keys tells nothing of how they lie in slots; and one of so many looks again.
TELLING_KEYS = 500
LOOK_AGAIN = 16

#: What a worker does about a state that may pass: (side, address, reason, hint, what to do again).
Wait = Callable[[str, str, str, str, Callable[[], None]], None]


#: The connection to the node that a redirection names; the other connection is that of the node that said it.
Visit = Callable[[Connection, Redirect], Connection]


def _visit_nobody(conn: Connection, redirect: Redirect) -> Connection:
    return conn


@dataclass
class Link:
    """The connections between one source database and its target; `source` is None where only is written."""

    source: Connection | None
    router: Router
    clock: Clock
    wait: Wait
    db: int = 0
    max_value_bytes: int = 512 << 20
    no_expiries: bool = False
    no_field_expiries: bool = False  # on either side: for comparisons
    target_db: int = 0
    target_clock: Clock = Clock(absolute=True)  # how the target tells expiries: for comparisons
    ahead_ms: int = 0  # of lookups: how far the clock of the node that is read is ahead of the source's
    filters: Filters = Filters()  # of the run
    tolerance_ms: int = 0
    quick: bool = False  # comparisons look at sizes, not at values
    named: bool = False  # … and at names that the source does not have
    strings_as_values: bool = True  # strings may be read and written as such: not with --method dump
    on_conflict: str = "replace"
    atomic: bool = False  # values are read together with their expiries, at one moment
    from_cluster: bool = False  # the source is a node of a cluster
    by_slot: bool = False  # either side is a cluster: slots matter
    lanes: int = 0  # how many lanes use the link now
    suspects: Suspects = field(default_factory=Suspects)  # of all links of the worker
    visit: Visit = _visit_nobody  # the source's node that a redirection names
    _scattered: bool = False  # keys of one window lie in any slots, hardly two in the same
    _windows: int = 0  # of which each may have looked
    _unlike: int = 0  # replies of both sides that are parsed at once, as those before were not the same
    when_back: list[Callable[[], None]] = field(default_factory=list)  # what is done again, once the link is ready

    @property
    def connections(self) -> list[Connection]:
        """All connections of the link."""
        return ([self.source] if self.source else []) + [sink.conn for sink in self.router.sinks]

    @cached_property
    def _own_slots(self) -> frozenset[int]:
        return frozenset(slot for first, last in self.reader.node.slots for slot in range(first, last + 1))

    def strays_among(self, slots: list[int]) -> int:
        """How many keys of these slots do not belong to the source's node that has told their names."""
        if not self.from_cluster or self._own_slots.issuperset(slots):
            return 0
        return sum(slot not in self._own_slots for slot in slots)

    def lens_of(self, key: bytes) -> Lens:
        """How a single key is compared."""
        ((sink, _),) = self.router.group([key])
        times = Times(self.clock.shift_ms + sink.later_ms, self.tolerance_ms)
        lens = Lens(self.clock, self.target_clock, times, self.reader.number, self.db, self.target_db)
        return replace(lens, quick=self.quick, named=self.named, chosen_by=self.asked_there(sink) if self.named else ())

    def asked_there(self, sink: Sink, any_size: bool = False) -> list[Question]:
        """What the filters want to know of keys of a target node, from that node."""
        filters = self.filters.of_any_size if any_size else self.filters
        return filters.of_copies(self.clock.shift_ms + sink.later_ms).questions(self.target_clock)

    @property
    def keeps_existing(self) -> bool:
        """No key that exists at the target may be replaced."""
        return self.on_conflict != "replace"

    @property
    def writes(self) -> Writes:
        """How keys are written."""
        return ONLY_NEW if self.keeps_existing else REPLACING

    @property
    def ready(self) -> bool:
        """Every connection has been through its handshake."""
        return all(conn.ready for conn in self.connections)

    @property
    def reader(self) -> Connection:
        """The source's connection, for those who read."""
        assert self.source is not None
        return self.source

    @property
    def splices(self) -> bool:
        """Replies to reads can become writes as they are: see `splicing.py`."""
        return not (self.atomic or self.keeps_existing)

    def compares_unparsed(self, expiries: bool) -> bool:
        """Whether the next replies of both sides are to be compared as they are, first of all: see `unparsed.py`.

        Both must be asked alike, as two clusters are, and tell expiries alike. Where the last replies were not the
        same, some are parsed at once: all may have been copied by a tool that leaves expiries a millisecond off.
        """
        self._unlike = max(0, self._unlike - 1)
        told_alike = self.clock == self.target_clock and (self.clock.absolute or not self.clock.wanted)
        return self.from_cluster == self.to_cluster and not self._unlike and (told_alike or not expiries)

    def note_unlike(self) -> None:
        """Replies that were to be the same were not."""
        self._unlike = LOOK_AGAIN

    def read(self, request: bytes, replies: int, then: Then, way: Way = Way.MARKED) -> None:
        """Ask the source for values and what belongs to them."""
        if self.atomic:
            self.reader.ask(*in_one_moment(request, replies), lambda got: then(moment_of(got)), way)
        else:
            self.reader.ask(request, replies, then, way)

    def replace(self, old: Connection, new: Connection) -> None:
        """Put a connection in the place of one that was lost."""
        if self.source is old:
            self.source = new
        for sink in self.router.sinks:
            if sink.conn is old:
                sink.conn = new

    # ---- slots ----------------------------------------------------------------------------------------------

    @property
    def to_cluster(self) -> bool:
        """The target is a cluster."""
        return self.router.owners is not None

    def wants_slots(self) -> bool:
        """Whether the next window has to know the slots of its keys.

        It need not where all of the source node's slots belong to one node of the target, and keys come in any order,
        as those of windows before did: then each is read and written by a command of its own, and there.
        """
        self._windows += 1
        return not self._scattered or self._windows % LOOK_AGAIN == 0 or (self.to_cluster and self._sole is None)

    def note_shared(self, keys: int, shared: bool) -> None:
        """A window of so many keys had some in each slot, or had not; small ones tell nothing."""
        if shared or keys >= TELLING_KEYS:
            self._scattered = not shared

    @property
    def _sole(self) -> int | None:
        """The target's node that owns all slots of the source's node, if one does."""
        owners = self.router.owners
        return owners.sole(self.source.node.slots) if owners and self.source and self.from_cluster else None

    def split(self, batch: Batch) -> Iterable[tuple[Sink, Batch]]:
        """The batch in parts, with the sink that takes each."""
        if batch.slotted or not self.to_cluster:
            return self.router.split(batch)
        sole = self._sole  # None where a slot has moved since the window began
        return self.router.split(batch) if sole is None else self.router.whole(sole, batch)

    def takers(self, slots: list[int] | None, may_share: bool) -> tuple[Takers, list[Sink]] | None:
        """As `split`, for keys that are spliced; `slots` of the keys, sorted if a command may take several of them.

        None where only parsing can tell: a slot has moved since the window began.
        """
        sinks, owners = self.router.sinks, self.router.owners
        if owners and slots is None:
            if self._sole is None:
                return None
            sinks = [sinks[self._sole]]
        by_slot = owners.by_slot if owners and slots is not None else None
        return Takers(tuple([sink.later_ms for sink in sinks]), may_share, slots, by_slot), sinks

    # ---- redirections ---------------------------------------------------------------------------------------

    def learn(self, node: int, error: object) -> Sink | None:
        """The sink that a redirection of a target node names; a slot that has MOVED is written there from now on.

        None where the node is not known: the coordinator will find out about it.
        """
        redirect = redirect_of(error)
        sink = self.router.named(node, redirect) if redirect else None
        if redirect and sink and not redirect.asks:
            self.router.move(redirect.slot, sink.node)
        return sink

    def learn_all(self, node: int, replies: Iterable[object]) -> None:
        """Note every slot that has moved, so that the next try goes right with all of them."""
        for reply in replies:
            if isinstance(reply, Exception):
                self.learn(node, reply)

    def asked(self, node: int, reply: object) -> Sink | None:
        """The sink to which a target node sends a command, after ASKING; None where the reply says something else."""
        redirect = redirect_of(reply)
        return self.learn(node, reply) if redirect and redirect.asks else None

    # ---- troubles -------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Do again what a lost connection has left undone; the link is ready."""
        waiting, self.when_back = self.when_back, []
        for again in waiting:
            again()

    def trouble(self, side: str, node: int, error: Exception, again: Callable[[], None]) -> None:
        """Wait and do `again` when the state passes; raises Lost when it is no state that passes.

        `side` is "source" for the connection that keys are read from, else "target" (see `links.py` for lookups).
        """
        if isinstance(error, Gone):
            return again() if self.ready else self.when_back.append(again)
        conn = self.reader if side == "source" else self.router.sinks[node].conn
        where = {"side": conn.side, "address": conn.endpoint.address}
        rule = rule_for(error)
        if rule.action is Action.WAIT:
            self.wait(conn.side, conn.endpoint.address, rule.reason, rule.hint, again)
        elif rule.action in (Action.REDIRECT, Action.SPLIT):
            if side == "target":
                self.learn(node, error)
            self.wait(conn.side, conn.endpoint.address, rule.reason, rule.hint, again)
        elif rule.action is Action.STOP:
            raise Lost(RunError(f"{rule.reason}: {error}", hint=rule.hint, **where))
        else:
            raise Lost(InternalError(f"no state, but waited for: {error}", **where))
