"""Both sides asked at once about the keys of one window; what they say is brought into the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .expiry import Clock, Expiries, none_of
from .policy import first_error
from .read import (
    INFO_KEYSPACE,
    database_has_expiries,
    expiries_of,
    expiries_request,
    fields_may_expire,
    one_each,
)
from .readings import Reading, Values
from .replies import Unparsed, Way, listed
from .resp import arguments
from .unparsed import alike

if TYPE_CHECKING:
    from .conn import Connection
    from .link import Link


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
    replies: Unparsed | list = field(default_factory=list)
    count: int = 0  # of replies that tell values
    values: Values = field(default_factory=list)
    expiries: Expiries | None = None


class Both:
    """Asks both sides what `reading` reads of `keys`, and for their expiries where `expiries` is set.

    Then told(values, values, which expiries are equal), in the order of the keys, None instead of the last where all
    are; or failed(side, node, error). Where a side is a cluster, keys come in the order of their slots. Or, where
    `same` is given, same(size) if both have told the same of all keys, word for word: `size` is that of the values in
    bytes, without those that are arrays.

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
        same: Callable[[int], None] | None = None,
    ) -> None:
        self.link, self.keys, self.encoded, self.reading = link, keys, encoded, reading
        self.expiries, self.told, self.failed = expiries, told, failed
        self.shortcut = expiries and link.no_expiries
        self.fields, self.same = fields, same
        asks = expiries and not self.shortcut
        self.way = Way.UNPARSED if same and link.compares_unparsed(asks) else Way.MARKED
        self.told_expiries = asks and link.clock.wanted  # where replies are taken unparsed: by both sides, or by none
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
        if self._asks_info(part):
            more, more_count = more + INFO_KEYSPACE, more_count + 1
        part.count = count
        conn.ask(request + more, count + more_count, partial(self._answered, part), self.way)

    def _answered(self, part: _Part, replies: Unparsed | list) -> None:
        part.replies = replies
        self._open -= 1
        if self._open or self._are_same():
            return
        for part in self._parts:
            replies, part.replies = listed(part.replies), []
            try:
                self._split(part, replies[: part.count], replies[part.count :])
            except TypeError as error:
                self._error = self._error or (part.side, part.node, first_error(replies) or error)
        self._done()

    def _are_same(self) -> bool:
        """Whether both sides have told the same, word for word; then that is told."""
        ours, theirs, *others = self._parts
        if self.same is None or others or isinstance(ours.replies, list) or isinstance(theirs.replies, list):
            return False
        arrays = ours.count if ours.reading.in_array else 0
        found = alike(ours.replies, theirs.replies, len(self.keys), arrays, self.told_expiries)
        if found is None:
            self.link.note_unlike()
            return False
        try:
            for part, past in ((ours, found.our_past), (theirs, found.their_past)):
                if self._asks_info(part):
                    self._look_at_info(part, listed(part.replies[past:]))
        except TypeError:
            return False
        if self.shortcut and not self.link.no_expiries:
            self._once_more()
        else:
            self.same(found.size)
        return True

    def _split(self, part: _Part, values: list, told: list) -> None:
        """Note values and expiries of one side, with errors among them. Raises TypeError where nothing was told."""
        part.values = one_each(part.reading.values(values), len(part.keys))
        if self._asks_info(part):
            told = self._look_at_info(part, told)
        if self.expiries and not self.shortcut and part.clock.wanted:
            part.expiries = expiries_of(told, part.clock, len(part.keys), strict=False)

    def _asks_info(self, part: _Part) -> bool:
        return self.shortcut or part.may_expire

    def _look_at_info(self, part: _Part, told: list) -> list:
        """Note what INFO says, which is the last; what is told before it. Raises TypeError where it was refused."""
        *told, info = told
        if isinstance(info, Exception):
            raise TypeError
        if self.shortcut and database_has_expiries(info, part.db):
            self.link.no_expiries = False
        if part.may_expire and fields_may_expire(info, part.db):
            self.link.no_field_expiries = False
        return told

    # ---- together -------------------------------------------------------------------------------------------

    def _done(self) -> None:
        if self._error:
            return self.failed(*self._error)
        if self.shortcut and not self.link.no_expiries:
            return self._once_more()
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

    def _once_more(self) -> None:
        """A key with an expiry has come to one of the sides: all is read again, with expiries."""
        asked = self.link, self.keys, self.encoded, self.reading
        Both(*asked, True, self.told, self.failed, self.fields, self.same).ask()

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
