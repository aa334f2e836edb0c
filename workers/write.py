"""The writer: requests that put values at the target, and the sinks that carry them.

Every write replaces a whole key (MSET, SET, RESTORE … REPLACE) with an absolute expiry. So a window may be sent
again: the second time writes what the source holds then, and nothing adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, repeat

from .batch import Batch
from .conn import Connection, Request
from .resp import CRLF, HEADS

#: Commands up to the key. Arguments follow as `resp.argument` encodes them, values as their head and their bytes.
SET = b"*3\r\n$3\r\nSET"
SET_UNTIL = b"*5\r\n$3\r\nSET"
RESTORE = b"*5\r\n$7\r\nRESTORE"
RESTORE_UNTIL = b"*6\r\n$7\r\nRESTORE"
#: What follows the key, or the value.
NO_TTL = b"\r\n$1\r\n0"
PXAT = b"\r\n$4\r\nPXAT"
REPLACE = b"\r\n$7\r\nREPLACE\r\n"
REPLACE_ABSTTL = b"\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n"

#: Above this mean size, a SET a key beats an MSET, and a value is better sent from where it is than copied once more.
LARGE_VALUE_BYTES = 4096

_head = HEADS.__getitem__


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

    def split(self, batch: Batch) -> Iterable[tuple[Sink, Batch]]:
        """The batch in parts, with the sink that takes each."""
        if self.node_of is None:
            return [(self.sinks[0], batch)] if batch else []
        return [(self.sinks[node], part) for node, part in batch.by_node(self.node_of).items()]


def strings_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes strings, unless they are large those without expiry by one MSET; the number of replies."""
    pieces: list[bytes] = []
    for key, value, instant in batch.expiring:
        digits = b"%d" % instant
        pieces += (SET_UNTIL, key, _head(len(value)), value, PXAT, _head(len(digits)), digits, CRLF)
    keys, values = batch.keys, batch.values
    if large:
        pieces += chain.from_iterable(zip(repeat(SET), keys, map(_head, map(len, values)), values, repeat(CRLF)))
        return _joined_between_large(pieces), len(batch)
    if not keys:
        return b"".join(pieces), len(batch.expiring)
    pieces.append(b"*%d\r\n$4\r\nMSET" % (2 * len(keys) + 1))
    pairs = chain.from_iterable(zip(keys, map(_head, map(len, values)), values))
    return b"".join(chain(pieces, pairs, (CRLF,))), len(batch.expiring) + 1


def payloads_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes DUMP payloads; the number of replies."""
    pieces: list[bytes] = []
    for key, payload, instant in batch.expiring:
        digits = b"%d" % instant
        pieces += (RESTORE_UNTIL, key, _head(len(digits)), digits, _head(len(payload)), payload, REPLACE_ABSTTL)
    keys, payloads = batch.keys, batch.values
    heads = map(_head, map(len, payloads))
    pieces += chain.from_iterable(zip(repeat(RESTORE), keys, repeat(NO_TTL), heads, payloads, repeat(REPLACE)))
    if large:
        return _joined_between_large(pieces), len(batch)
    return b"".join(pieces), len(batch)


def are_large(size: int, count: int) -> bool:
    """Whether `count` values of `size` bytes together are better sent from where they are."""
    return size > LARGE_VALUE_BYTES * count


def _joined_between_large(pieces: list[bytes]) -> list[bytes]:
    """The same bytes in fewer pieces: what is small is joined, large values are not copied once more."""
    found: list[bytes] = []
    small: list[bytes] = []
    for piece in pieces:
        if len(piece) <= LARGE_VALUE_BYTES:
            small.append(piece)
            continue
        found += (b"".join(small), piece)
        small.clear()
    return [*found, b"".join(small)]
