"""The writer: requests that put values at the target, and the sinks that carry them.

Every write replaces a whole key (MSET, SET, RESTORE … REPLACE) with an absolute expiry. So a window may be sent
again: the second time writes what the source holds then, and nothing adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

from .conn import Connection, Request
from .resp import CRLF, HEADS, argument_value

#: Templates take arguments as `resp.argument` encodes them, values as their head and their bytes.
SET_UNTIL = b"*5\r\n$3\r\nSET%b%b%b\r\n$4\r\nPXAT\r\n$%d\r\n%d\r\n"
SET_LARGE = b"*%d\r\n$3\r\nSET%b\r\n$%d\r\n"
UNTIL = b"\r\n$4\r\nPXAT\r\n$%d\r\n%d\r\n"
RESTORE = b"*5\r\n$7\r\nRESTORE%b\r\n$1\r\n0%b%b\r\n$7\r\nREPLACE\r\n"
RESTORE_UNTIL = b"*6\r\n$7\r\nRESTORE%b\r\n$%d\r\n%d%b%b\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n"

#: Above this mean size, a SET a key beats an MSET, and a value is better sent from where it is than copied once more.
LARGE_VALUE_BYTES = 4096

VALUE = itemgetter(1)

Item = tuple[bytes, bytes, int]  # the key as an encoded argument, its value or DUMP payload, its instant or NEVER


@dataclass
class Sink:
    """One node of the target, as one worker writes to it."""

    node: int
    conn: Connection

    def write(self, request: Request, replies: int, then: Callable[[list], None]) -> None:
        """Queue a request of `replies` commands."""
        self.conn.ask(request, replies, then)


@dataclass
class Router:
    """The nodes of the target, and which of them a key belongs to."""

    sinks: list[Sink]
    node_of: Callable[[bytes], int] | None = None  # None: there is one node

    def split(self, items: list[Item]) -> Iterable[tuple[Sink, list[Item]]]:
        """The items, by the sink that takes them, in their order."""
        if self.node_of is None:
            return [(self.sinks[0], items)] if items else []
        parts: dict[int, list[Item]] = {}
        for item in items:
            parts.setdefault(self.node_of(argument_value(item[0])), []).append(item)
        return [(self.sinks[node], part) for node, part in parts.items()]


def value_bytes(items: list[Item]) -> int:
    """How many bytes the values of the items have together."""
    return sum(map(len, map(VALUE, items)))


def strings_request(items: list[Item]) -> tuple[Request, int]:
    """Writes strings: those without expiry by one MSET where they are small; the number of replies."""
    if value_bytes(items) > LARGE_VALUE_BYTES * len(items):
        return _large_strings(items), len(items)
    head = HEADS.__getitem__
    out = [
        SET_UNTIL % (key, head(len(value)), value, len(b"%d" % instant), instant)
        for key, value, instant in items
        if instant
    ]
    lasting = [item for item in items if not item[2]] if out else items
    if not lasting:
        return b"".join(out), len(out)
    out.append(b"*%d\r\n$4\r\nMSET" % (2 * len(lasting) + 1))
    keys, values, _ = zip(*lasting)
    pairs = chain.from_iterable(zip(keys, map(head, map(len, values)), values))
    return b"".join(chain(out, pairs, (CRLF,))), len(out)


def _large_strings(items: list[Item]) -> list[bytes]:
    """A SET for each, in pieces: the values themselves are not copied again."""
    pieces: list[bytes] = []
    for key, value, instant in items:
        pieces += (SET_LARGE % (5 if instant else 3, key, len(value)), value)
        pieces.append(UNTIL % (len(b"%d" % instant), instant) if instant else CRLF)
    return pieces


def payloads_request(items: list[Item]) -> tuple[Request, int]:
    """Writes DUMP payloads; the number of replies."""
    head = HEADS.__getitem__
    out = [
        RESTORE_UNTIL % (key, len(b"%d" % instant), instant, head(len(payload)), payload)
        if instant
        else RESTORE % (key, head(len(payload)), payload)
        for key, payload, instant in items
    ]
    return b"".join(out), len(out)
