"""The writer: requests that put values at the target, and the sinks that carry them.

Every write replaces a whole key (MSET, SET, RESTORE … REPLACE) with an absolute expiry. So a window may be sent
again: the second time writes what the source holds then, and nothing adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter

from .conn import Connection
from .resp import argument_value

SET = b"*3\r\n$3\r\nSET\r\n%b$%d\r\n%b\r\n"
SET_UNTIL = b"*5\r\n$3\r\nSET\r\n%b$%d\r\n%b\r\n$4\r\nPXAT\r\n$%d\r\n%d\r\n"
PAIR = b"%b$%d\r\n%b\r\n"
RESTORE = b"*5\r\n$7\r\nRESTORE\r\n%b$1\r\n0\r\n$%d\r\n%b\r\n$7\r\nREPLACE\r\n"
RESTORE_UNTIL = b"*6\r\n$7\r\nRESTORE\r\n%b$%d\r\n%d\r\n$%d\r\n%b\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n"

#: Above this, a SET a key beats an MSET: the server need not hold the whole command before it starts.
MSET_VALUE_BYTES = 4096

VALUE = itemgetter(1)

Item = tuple[bytes, bytes, int]  # the key as an encoded argument, its value or DUMP payload, its instant or NEVER


@dataclass
class Sink:
    """One node of the target, as one worker writes to it."""

    node: int
    conn: Connection

    def write(self, request: bytes, replies: int, then: Callable[[list], None]) -> None:
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


def strings_request(items: list[Item]) -> tuple[bytes, int]:
    """Writes strings: those without expiry by one MSET where they are small; the number of replies."""
    out = [
        SET_UNTIL % (key, len(value), value, len(b"%d" % instant), instant) for key, value, instant in items if instant
    ]
    if len(out) == len(items):
        return b"".join(out), len(out)
    if value_bytes(items) > MSET_VALUE_BYTES * len(items):
        out += [SET % (key, len(value), value) for key, value, instant in items if not instant]
        return b"".join(out), len(out)
    pairs = [PAIR % (key, len(value), value) for key, value, instant in items if not instant]
    out.append(b"*%d\r\n$4\r\nMSET\r\n" % (2 * len(pairs) + 1))
    return b"".join(out + pairs), len(out)


def payloads_request(items: list[Item]) -> tuple[bytes, int]:
    """Writes DUMP payloads; the number of replies."""
    out = []
    for key, payload, instant in items:
        if instant:
            out.append(RESTORE_UNTIL % (key, len(b"%d" % instant), instant, len(payload), payload))
        else:
            out.append(RESTORE % (key, len(payload), payload))
    return b"".join(out), len(out)
