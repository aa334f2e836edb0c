"""Both sides asked at once about the keys of one window; what they say is brought into the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .expiry import Clock, Expiries, none_of
from .filters import TYPE
from .policy import Action, first_error, rule_for
from .read import (
    INFO_KEYSPACE,
    Method,
    database_has_expiries,
    each,
    expiries_of,
    expiries_request,
    values_of,
    values_request,
)
from .resp import CRLF, HEADS

if TYPE_CHECKING:
    from .conn import Connection
    from .link import Link

Values = list[Any]


class Reading(Protocol):
    """What is read of each key."""

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        """The request about keys (as encoded arguments), and how many replies it brings."""

    def values(self, replies: list, count: int) -> Values:
        """What the replies say of each of `count` keys. Raises TypeError where they say nothing."""

    def understood(self, values: Values) -> Values:
        """The same, None for keys of which there is nothing to read; errors that are none are taken out."""


@dataclass(frozen=True)
class OfValues:
    """Values by MGET, GET or DUMP; None where the key is gone or, but for DUMP, no string."""

    method: Method

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        return values_request(self.method, encoded)

    def values(self, replies: list, count: int) -> Values:
        return values_of(self.method, replies, count)

    def understood(self, values: Values) -> Values:
        if self.method is not Method.GET:
            return values
        return [None if _is_wrong_type(value) else value for value in values]


class OfTypes:
    """Types, as TYPE has them; None where the key is gone."""

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        return each(TYPE, encoded), len(encoded)

    def values(self, replies: list, count: int) -> Values:
        return replies[:count]

    def understood(self, values: Values) -> Values:
        return [None if value == b"none" else value for value in values]


@dataclass(frozen=True)
class BySize:
    """Sizes, by a command for each key: `commands` are whole but for their last argument, by encoded key."""

    commands: Mapping[bytes, bytes]

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        return b"".join([self.commands[key] + key + CRLF for key in encoded]), len(encoded)

    def values(self, replies: list, count: int) -> Values:
        return replies[:count]

    def understood(self, values: Values) -> Values:
        """An error is another type than before: no two are equal, so that the key is looked at."""
        return [object() if isinstance(value, Exception) else value for value in values]


class Both:
    """Asks both sides what `reading` reads of `keys`, and for their expiries where `expiries` is set.

    Then told(values, values, which expiries are equal), in the order of the keys, None instead of the last where all
    are; or failed(side, node, error).
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
    ) -> None:
        self.link, self.keys, self.encoded, self.reading = link, keys, encoded, reading
        self.expiries, self.told, self.failed = expiries, told, failed
        self.shortcut = expiries and link.no_expiries
        self._open = 0
        self._error: tuple[str, int, Exception] | None = None
        self._ours: Any = None
        self._theirs: dict[int, Any] = {}
        self._groups: list[tuple[int, list[bytes]]] = []  # node, keys

    def ask(self) -> None:
        """Send the questions."""
        link = self.link
        groups = link.router.group(self.keys)
        self._groups = [(sink.node, keys) for sink, keys in groups]
        self._open = 1 + len(groups)
        self._ask(link.reader, "source", 0, self.encoded, link.clock, link.db, partial(setattr, self, "_ours"))
        for number, (sink, keys) in enumerate(groups):
            encoded = self.encoded if len(groups) == 1 else [HEADS[len(key)] + key for key in keys]
            take = partial(self._theirs.__setitem__, number)
            self._ask(sink.conn, "target", sink.node, encoded, link.target_clock, link.target_db, take)

    def _ask(
        self,
        conn: Connection,
        side: str,
        node: int,
        encoded: list[bytes],
        clock: Clock,
        db: int,
        take: Callable[[Any], None],
    ) -> None:
        request, count = self.reading.request(encoded)
        if self.shortcut:
            more, more_count = INFO_KEYSPACE, 1
        elif self.expiries:
            more, more_count = expiries_request(clock, encoded)
        else:
            more, more_count = b"", 0

        def answered(replies: list) -> None:
            try:
                take(self._split(replies, len(encoded), len(replies) - more_count, clock, db))
            except TypeError as error:
                self._error = self._error or (side, node, first_error(replies) or error)
            self._open -= 1
            if not self._open:
                self._done()

        conn.ask(request + more, count + more_count, answered)

    def _split(self, replies: list, count: int, at: int, clock: Clock, db: int) -> tuple[Values, Expiries | None]:
        """Values and expiries of one side, with errors among them. Raises TypeError where nothing was told."""
        values, told = self.reading.values(replies, count), replies[at:]
        if self.shortcut:
            if isinstance(told[0], Exception):
                raise TypeError
            if database_has_expiries(told[0], db):
                self.link.no_expiries = False
            return values, None
        if not self.expiries or not clock.wanted:
            return values, None
        return values, expiries_of(told, clock, count, strict=False)

    # ---- together -------------------------------------------------------------------------------------------

    def _done(self) -> None:
        if self._error:
            return self.failed(*self._error)
        if self.shortcut and not self.link.no_expiries:
            # A key with an expiry has come to one of the sides: all is read again, with expiries.
            again = Both(self.link, self.keys, self.encoded, self.reading, True, self.told, self.failed)
            return again.ask()
        values, expiries = self._ours
        their_values, their_expiries = self._theirs[0] if len(self._groups) == 1 else self._merged()
        equal = _equal_replies(expiries, their_expiries)
        if equal and values == their_values and None not in values:
            return self.told(values, their_values, None)
        if error := self._first_error():
            return self.failed(*error)
        values, their_values = self.reading.understood(values), self.reading.understood(their_values)
        self.told(values, their_values, None if equal else self._equal_instants(expiries, their_expiries))

    def _first_error(self) -> tuple[str, int, Exception] | None:
        """The first error among all replies that the reading does not expect."""
        told = [("source", 0, self._ours)]
        told += [("target", node, self._theirs[number]) for number, (node, _) in enumerate(self._groups)]
        for side, node, (values, expiries) in told:
            replies = [*self.reading.understood(values), *(expiries.replies if expiries is not None else ())]
            if error := first_error(replies):
                return side, node, error
        return None

    def _merged(self) -> tuple[Values, Expiries | None]:
        """Values and expiries of all nodes, in the order of the keys."""
        values: dict[bytes, Any] = {}
        settled: dict[bytes, int] = {}
        for number, (_, keys) in enumerate(self._groups):
            told, expiries = self._theirs[number]
            values.update(zip(keys, told))
            if expiries is not None:
                settled.update(zip(keys, expiries.settled()))
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


def _is_wrong_type(value: object) -> bool:
    return isinstance(value, Exception) and rule_for(value).action is Action.OTHER_METHOD
