"""What a value that was read says by itself of whether it passes the filters: its type, a string's length, its expiry.

The sieve asks before the reading, and another client may make another key of that name in between. Where nobody looks
again that is a state of the key like any other. But a live copy must not leave such a value at the target: the change
is told, the key does not pass any more, and what the target has by then is not chosen there either; so it would be
taken for somebody else's, and stay. So a live copy writes no value that does not pass, and treats its key as gone.

What cannot be told from a value (what MEMORY USAGE estimates; a type that is new to us) passes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .batch import Batch, Columns
from .expiry import NEVER, Clock
from .filters import Filters
from .read import TYPE_OF_PAYLOAD
from .structs.payload import string_bytes

#: Instants that are told as the time that is left are some milliseconds off; the sieve has judged them more strictly.
SLACK_MS = 1000
#: The signs of a module's name, of six bits each: nine of them, and ten bits for a version (module.c of the servers).
SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NAME_SIGNS, VERSION_BITS = 9, 10
MODULE_ID = b"\x07\x81"


@dataclass(frozen=True)
class Scope:
    """The filters, as far as values answer them: types in lower case, instants of the target's clock, in ms."""

    types: frozenset[str] = frozenset()
    most_bytes: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, value: bytes, instant: int, is_payload: bool) -> bool:
        """Whether a string's value, or a payload of DUMP, passes, and the instant at which it ends."""
        kind = type_of(value) if is_payload else "string"
        if self.types and kind and kind.lower() not in self.types:
            return False
        if self.most_bytes is not None and kind == "string":
            size = string_bytes(value) if is_payload else len(value)
            if size is not None and size > self.most_bytes:
                return False
        if instant == NEVER:
            return self.until_ms is None
        late_enough = self.since_ms is None or instant >= self.since_ms - SLACK_MS
        return late_enough and (self.until_ms is None or instant <= self.until_ms + SLACK_MS)

    def of(self, batch: Batch, is_payload: bool) -> Batch:
        """What passes of a batch."""
        lasting, expiring = (self._of(columns, is_payload) for columns in (batch.lasting, batch.expiring))
        return Batch(lasting, expiring, batch.slotted, batch.shared)

    def _of(self, columns: Columns, is_payload: bool) -> Columns:
        instants: Iterator[int] = iter(columns.instants)
        wanted = [self.takes(value, next(instants, NEVER), is_payload) for value in columns.values]
        return columns if all(wanted) else columns.only(wanted)


def scope_of(filters: Filters, clock: Clock) -> Scope | None:
    """What has to be looked at in values that a link's `clock` has told the expiries of; None: nothing has to."""
    ends = (filters.ends_from_ms, filters.ends_until_ms) if clock.wanted else (None, None)
    since_ms, until_ms = (None if end is None else end + clock.shift_ms for end in ends)
    scope = Scope(frozenset(name.lower() for name in filters.types), filters.max_bytes, since_ms, until_ms)
    return None if scope == Scope() else scope


def type_of(payload: bytes) -> str:
    """The type of what DUMP has returned, as TYPE has it; '' where it is not known."""
    kind = TYPE_OF_PAYLOAD.get(payload[0], "")
    return kind if kind != "module" else _module_of(payload)


def _module_of(payload: bytes) -> str:
    """A module's id of 64 bits follows, whose length is told by one byte; in payloads of before Redis 4 it did not."""
    if payload[:2] != MODULE_ID:
        return ""
    bits = int.from_bytes(payload[2:10], "big") >> VERSION_BITS
    return "".join(SIGNS[bits >> 6 * place & 63] for place in reversed(range(NAME_SIGNS)))
