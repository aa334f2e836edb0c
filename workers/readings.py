"""What a comparison reads of each key of a window: the requests for it, and what their replies say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Protocol

from .filters import TYPE
from .policy import Action, first_error, rule_for
from .read import Method, Runs, each, values_of, values_request
from .slots import are_shared, runs_of, slots_of

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

    @property
    def in_array(self) -> bool:
        """Values are told as the parts of arrays."""


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

    @property
    def in_array(self) -> bool:
        return self.method is Method.MGET


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

    @property
    def in_array(self) -> bool:
        return False


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

    @property
    def in_array(self) -> bool:
        return False


def _without_wrong_types(values: Values) -> Values:
    if first_error(values) is None:
        return values
    return [
        None if isinstance(value, Exception) and rule_for(value).action is Action.OTHER_METHOD else value
        for value in values
    ]
