"""Both sides asked at once about the keys of one window; what they say is brought into the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Protocol

from .expiry import Clock, Expiries, none_of
from .filters import TYPE
from .policy import Action, first_error, rule_for
from .read import (
    INFO_KEYSPACE,
    Method,
    Runs,
    database_has_expiries,
    each,
    expiries_of,
    expiries_request,
    fields_may_expire,
    values_of,
    values_request,
)
from .resp import arguments
from .slots import are_shared, runs_of, slots_of

if TYPE_CHECKING:
    from .conn import Connection
    from .link import Link

Values = list[Any]
Ends = tuple[bytes, bytes]  # of a command: what stands before its key, and after it


class Reading(Protocol):
    """What is read of each key."""

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        """The request about keys (as encoded arguments), and how many replies it brings."""

    def values(self, replies: list) -> Values:
        """What the replies say of each key. Raises TypeError where they say nothing."""

    def understood(self, values: Values) -> Values:
        """The same, None for keys of which there is nothing to read; errors that are none are taken out."""

    def in_cluster(self, keys: list[bytes]) -> Reading:
        """How a node of a cluster is asked about the same, with keys in the order of their slots."""


@dataclass(frozen=True)
class OfValues:
    """Values by MGET, GET or DUMP; None where the key is gone or, but for DUMP, no string."""

    method: Method
    runs: Runs | None = None  # of keys of one slot

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        return values_request(self.method, encoded, self.runs)

    def values(self, replies: list) -> Values:
        return values_of(self.method, replies)

    def understood(self, values: Values) -> Values:
        if self.method is not Method.GET:
            return values
        return _without_wrong_types(values)

    def in_cluster(self, keys: list[bytes]) -> Reading:
        """MGET takes keys of one slot only; where slots have but few keys each, GET is as good."""
        if self.method is not Method.MGET:
            return self
        slots = slots_of(keys)
        return OfValues(self.method, runs_of(slots)) if are_shared(slots) else OfValues(Method.GET)


class OfTypes:
    """Types, as TYPE has them; None where the key is gone."""

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        return each(TYPE, encoded), len(encoded)

    def values(self, replies: list) -> Values:
        return replies

    def understood(self, values: Values) -> Values:
        return [None if value == b"none" else value for value in values]

    def in_cluster(self, keys: list[bytes]) -> Reading:
        return self


@dataclass(frozen=True)
class ByKind:
    """What a command tells of each key, for each kind of keys another one.

    `encoded` are the keys, kind by kind; `kinds` what stands before and after a key in the command, and how many keys.
    """

    encoded: Sequence[bytes]
    kinds: Sequence[tuple[Ends, int]]

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        if encoded is not self.encoded:  # a part of them, for one node of a cluster
            ends = dict(zip(self.encoded, chain.from_iterable(repeat(ends, count) for ends, count in self.kinds)))
            return b"".join([key.join(ends[key]) for key in encoded]), len(encoded)
        pieces, begin = [], 0
        for (before, after), count in self.kinds:
            pieces += [before, (after + before).join(encoded[begin : begin + count]), after]
            begin += count
        return b"".join(pieces), len(encoded)

    def values(self, replies: list) -> Values:
        return replies

    def in_cluster(self, keys: list[bytes]) -> Reading:
        return self

    def understood(self, values: Values) -> Values:
        """A key is of another type than before: nothing is read of it."""
        return _without_wrong_types(values)


@dataclass
class _Part:
    """The keys that one node is asked about, and what it says: values and expiries, once they are there."""

    side: str
    node: int
    keys: list[bytes]
    reading: Reading
    clock: Clock
    db: int
    may_expire: bool = False  # it knows of fields that expire, and is asked whether there are any
    values: Values = field(default_factory=list)
    expiries: Expiries | None = None


class Both:
    """Asks both sides what `reading` reads of `keys`, and for their expiries where `expiries` is set.

    Then told(values, values, which expiries are equal), in the order of the keys, None instead of the last where all
    are; or failed(side, node, error). Where a side is a cluster, keys come in the order of their slots.

    With `fields` the reading holds only as long as no field of a hash expires: the link's `no_field_expiries` is no
    more where a side says, after the values, that one does.
    """

    def __init__(
        self,
        link: Link,
        keys: list[bytes],
        encoded: list[bytes],
        reading: Reading,
        expiries: bool,
        told: Callable[[Values, Values, Sequence[bool] | None], None],
        failed: Callable[[str, int, Exception], None],
        fields: bool = False,
    ) -> None:
        self.link, self.keys, self.encoded, self.reading = link, keys, encoded, reading
        self.expiries, self.told, self.failed = expiries, told, failed
        self.shortcut = expiries and link.no_expiries
        self.fields = fields
        self._open = 0
        self._error: tuple[str, int, Exception] | None = None
        self._parts: list[_Part] = []  # the source's, and one for each node of the target

    def ask(self) -> None:
        """Send the questions."""
        link, reading = self.link, self.reading
        groups = link.router.group(self.keys)
        self._open = 1 + len(groups)
        ours = reading.in_cluster(self.keys) if link.from_cluster else reading
        self._ask(link.reader, _Part("source", 0, self.keys, ours, link.clock, link.db))
        for sink, keys in groups:
            theirs = reading.in_cluster(keys) if link.router.owners else reading
            # Instants of other nodes' clocks become those of the first node's.
            clock = replace(link.target_clock, shift_ms=-sink.later_ms) if sink.later_ms else link.target_clock
            self._ask(sink.conn, _Part("target", sink.node, keys, theirs, clock, link.target_db))

    def _ask(self, conn: Connection, part: _Part) -> None:
        self._parts.append(part)
        keys = part.keys
        encoded = self.encoded if len(keys) == len(self.keys) else arguments(keys)
        request, count = part.reading.request(encoded)
        more, more_count = b"", 0
        if self.expiries and not self.shortcut:
            more, more_count = expiries_request(part.clock, encoded)
        part.may_expire = self.fields and conn.node.fields_may_expire
        if self.shortcut or part.may_expire:
            more, more_count = more + INFO_KEYSPACE, more_count + 1
        conn.ask(request + more, count + more_count, partial(self._answered, part, count), marked=True)

    def _answered(self, part: _Part, count: int, replies: list) -> None:
        try:
            self._split(part, replies[:count], replies[count:])
        except TypeError as error:
            self._error = self._error or (part.side, part.node, first_error(replies) or error)
        self._open -= 1
        if not self._open:
            self._done()

    def _split(self, part: _Part, values: list, told: list) -> None:
        """Note values and expiries of one side, with errors among them. Raises TypeError where nothing was told."""
        part.values = part.reading.values(values)
        if self.shortcut or part.may_expire:
            *told, info = told
            if isinstance(info, Exception):
                raise TypeError
            if self.shortcut and database_has_expiries(info, part.db):
                self.link.no_expiries = False
            if part.may_expire and fields_may_expire(info, part.db):
                self.link.no_field_expiries = False
        if self.expiries and not self.shortcut and part.clock.wanted:
            part.expiries = expiries_of(told, part.clock, len(part.keys), strict=False)

    # ---- together -------------------------------------------------------------------------------------------

    def _done(self) -> None:
        if self._error:
            return self.failed(*self._error)
        if self.shortcut and not self.link.no_expiries:
            # A key with an expiry has come to one of the sides: all is read again, with expiries.
            again = Both(self.link, self.keys, self.encoded, self.reading, True, self.told, self.failed, self.fields)
            return again.ask()
        ours, *theirs = self._parts
        single = theirs[0] if len(theirs) == 1 else None
        equal = single is not None and _equal_replies(ours.expiries, single.expiries)
        if single and equal and ours.values == single.values and None not in ours.values:
            return self.told(ours.values, single.values, None)
        for part in self._parts:
            part.values = part.reading.understood(part.values)
            if error := first_error(part.values) or first_error(part.expiries.replies if part.expiries else ()):
                return self.failed(part.side, part.node, error)
        values, expiries = (single.values, single.expiries) if single else self._merged(theirs)
        self.told(ours.values, values, None if equal else self._equal_instants(ours.expiries, expiries))

    def _merged(self, parts: list[_Part]) -> tuple[Values, Expiries | None]:
        """Values and expiries of all nodes, in the order of the keys."""
        values: dict[bytes, Any] = {}
        settled: dict[bytes, int] = {}
        for part in parts:
            values.update(zip(part.keys, part.values))
            if part.expiries is not None:
                settled.update(zip(part.keys, part.expiries.settled()))
        in_order = [values[key] for key in self.keys]
        return in_order, Expiries([settled[key] for key in self.keys], 0, 0) if settled else None

    def _equal_instants(self, ours: Expiries | None, theirs: Expiries | None) -> Sequence[bool]:
        """Which keys have the same expiry on both sides, within the tolerance; one that is gone on both counts, too."""
        never = none_of(len(self.keys))
        most = self.link.tolerance_ms
        return [
            one == other or (bool(one and other) and abs(one - other) <= most)  # type: ignore[operator]
            for one, other in zip((ours or never).instants(), (theirs or never).instants())
        ]


def _equal_replies(ours: Expiries | None, theirs: Expiries | None) -> bool:
    """Whether both sides have told the same of all keys, word for word."""
    if ours is None or theirs is None:
        return ours is theirs
    return ours.add == theirs.add and ours.replies == theirs.replies


def _without_wrong_types(values: Values) -> Values:
    if first_error(values) is None:
        return values
    return [
        None if isinstance(value, Exception) and rule_for(value).action is Action.OTHER_METHOD else value
        for value in values
    ]
