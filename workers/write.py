"""The writer: requests that put values at the target, and the sinks that carry them.

Every write is of a whole key with an absolute expiry. Those that replace (MSET, SET, RESTORE … REPLACE) may be sent
again: the second time writes what the source holds then, and nothing adds up. Those that write only new keys (SET … NX,
RESTORE) are refused the second time: see `conflict.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat

from .batch import Batch, Row
from .conn import Connection, Request
from .redirects import Redirect
from .resp import CRLF, HEADS
from .slots import Owners, are_shared, runs_of, slots_of

#: Commands up to the key. Arguments follow as `resp.argument` encodes them, values as their head and their bytes.
SET = b"*3\r\n$3\r\nSET"
SET_UNTIL = b"*5\r\n$3\r\nSET"
SET_NEW = b"*4\r\n$3\r\nSET"
SET_NEW_UNTIL = b"*6\r\n$3\r\nSET"
RESTORE = b"*5\r\n$7\r\nRESTORE"
RESTORE_UNTIL = b"*6\r\n$7\r\nRESTORE"
RESTORE_NEW = b"*4\r\n$7\r\nRESTORE"
RESTORE_NEW_UNTIL = b"*5\r\n$7\r\nRESTORE"
#: What follows the key, or the value.
NO_TTL = b"\r\n$1\r\n0"
PXAT = b"\r\n$4\r\nPXAT"
REPLACE = b"\r\n$7\r\nREPLACE\r\n"
NX = b"\r\n$2\r\nNX\r\n"
ABSTTL = b"\r\n$6\r\nABSTTL\r\n"
REPLACE_ABSTTL = b"\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n"

#: Above this mean size, a SET a key beats an MSET, and a value is better sent from where it is than copied once more.
LARGE_VALUE_BYTES = 4096

Ends = tuple[bytes, bytes]  # of a command: what stands before its key, and what ends it

_head = HEADS.__getitem__


@dataclass
class Sink:
    """One node of the target, as one worker writes to it."""

    node: int
    conn: Connection
    sent: int = 0  # commands
    later_ms: int = 0  # how far its clock is ahead of the first node's, which instants are told in

    def write(self, request: Request, replies: int, then: Callable[[list], None]) -> None:
        """Queue a request of `replies` commands."""
        self.sent += replies
        self.conn.ask(request, replies, then)


@dataclass
class Router:
    """The nodes of the target, and which of them a key belongs to."""

    sinks: list[Sink]
    owners: Owners | None = None  # None: there is one node, and slots do not matter

    def move(self, slot: int, node: int) -> None:
        """A slot belongs to another node from now on."""
        if self.owners is not None:
            self.owners.move(slot, node)

    def named(self, node: int, redirect: Redirect) -> Sink | None:
        """The sink that `node` sends us to; None where it is not known."""
        host = redirect.host or self.sinks[node].conn.node.announced.rpartition(":")[0]
        address = f"{host}:{redirect.port}"
        return next((sink for sink in self.sinks if sink.conn.node.announced == address), None)

    def split(self, batch: Batch) -> Iterable[tuple[Sink, Batch]]:
        """The batch in parts, with the sink that takes each."""
        if self.owners is None:
            return [(self.sinks[0], batch)] if batch else []
        assert batch.slots is not None
        node = self.owners.only(batch.slots, batch.row_slots)
        if node is not None:
            parts = {node: batch}
        elif batch.shared:
            parts = self._cut(self.owners, batch, batch.slots)
        else:
            parts = self._pick(self.owners, batch, batch.slots)
        return [(self.sinks[node], self._in_its_clock(self.sinks[node], part)) for node, part in parts.items()]

    def _cut(self, owners: Owners, batch: Batch, slots: Sequence[int]) -> dict[int, Batch]:
        """The parts of a batch in the order of its slots, which stay in that order."""
        parts: dict[int, Batch] = {}
        for node, begin, end in owners.pieces(slots):
            piece = batch.cut(begin, end)
            if node in parts:
                parts[node].add(piece)
            else:
                parts[node] = piece
        for node, begin, end in owners.pieces(batch.row_slots):
            part = parts.setdefault(node, Batch([], [], [], []))
            part.expiring = part.expiring + batch.expiring[begin:end]
        return parts

    def _pick(self, owners: Owners, batch: Batch, slots: Sequence[int]) -> dict[int, Batch]:
        """The parts of a batch whose slots are in any order."""
        places, rows = dict(owners.by_node(slots)), dict(owners.by_node(batch.row_slots))
        return {node: batch.pick(places.get(node, ()), rows.get(node, ())) for node in places | rows}

    def _in_its_clock(self, sink: Sink, part: Batch) -> Batch:
        if sink.later_ms and part.expiring:
            rows = [(key, value, instant + sink.later_ms) for key, value, instant in part.expiring]
            return replace(part, expiring=rows)
        return part

    def group(self, keys: list[bytes]) -> list[tuple[Sink, list[bytes]]]:
        """Keys (not encoded) in parts, with the sink that each part belongs to."""
        if self.owners is None:
            return [(self.sinks[0], keys)]
        parts: dict[int, list[bytes]] = {}
        for key, slot in zip(keys, slots_of(keys)):
            parts.setdefault(self.owners.by_slot[slot], []).append(key)
        return [(self.sinks[node], part) for node, part in parts.items()]


def strings_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes strings, unless they are large those without expiry by MSET; the number of replies.

    In a cluster an MSET takes keys of one slot only: where slots have but few keys each, a SET for each key is as good.
    """
    if large or not batch.keys or not (batch.slots is None or (batch.shared and are_shared(batch.slots))):
        return _sets(batch, large, (SET, CRLF), (SET_UNTIL, CRLF))
    runs = [(0, len(batch.keys))] if batch.slots is None else runs_of(batch.slots)
    pieces = _sets_until(batch.expiring, SET_UNTIL, CRLF)
    keys, values = batch.keys, batch.values
    words = chain.from_iterable(zip(keys, map(_head, map(len, values)), values))
    for begin, end in runs:
        pieces.append(b"*%d\r\n$4\r\nMSET" % (2 * (end - begin) + 1))
        pieces += islice(words, 3 * (end - begin))
        pieces.append(CRLF)
    return b"".join(pieces), len(batch.expiring) + len(runs)


def new_strings_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes strings whose keys do not exist; nil for each of the others. A reply each, as in `batch.in_order`."""
    return _sets(batch, large, (SET_NEW, NX), (SET_NEW_UNTIL, NX))


def _sets(batch: Batch, large: bool, lasting: Ends, until: Ends) -> tuple[Request, int]:
    """A SET each; what stands before the key and at the end, without and with an expiry."""
    pieces = _sets_until(batch.expiring, *until)
    before, after = lasting
    keys, values = batch.keys, batch.values
    pieces += chain.from_iterable(zip(repeat(before), keys, map(_head, map(len, values)), values, repeat(after)))
    return _joined(pieces, large), len(batch)


def _sets_until(rows: list[Row], before: bytes, after: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    for key, value, instant in rows:
        digits = b"%d" % instant
        pieces += (before, key, _head(len(value)), value, PXAT, _head(len(digits)), digits, after)
    return pieces


def payloads_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes DUMP payloads; the number of replies."""
    return _restores(batch, large, (RESTORE, REPLACE), (RESTORE_UNTIL, REPLACE_ABSTTL))


def new_payloads_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes DUMP payloads whose keys do not exist; the others are refused. A reply each, as in `batch.in_order`."""
    return _restores(batch, large, (RESTORE_NEW, CRLF), (RESTORE_NEW_UNTIL, ABSTTL))


def _restores(batch: Batch, large: bool, lasting: Ends, until: Ends) -> tuple[Request, int]:
    """A RESTORE each; what stands before the key and after the payload, without and with an expiry."""
    pieces: list[bytes] = []
    before, after = until
    for key, payload, instant in batch.expiring:
        digits = b"%d" % instant
        pieces += (before, key, _head(len(digits)), digits, _head(len(payload)), payload, after)
    keys, payloads = batch.keys, batch.values
    before, after = lasting
    heads = map(_head, map(len, payloads))
    pieces += chain.from_iterable(zip(repeat(before), keys, repeat(NO_TTL), heads, payloads, repeat(after)))
    return _joined(pieces, large), len(batch)


Build = Callable[[Batch, bool], tuple[Request, int]]


@dataclass(frozen=True)
class Writes:
    """How strings and how DUMP payloads are written."""

    strings: Build
    payloads: Build


REPLACING = Writes(strings_request, payloads_request)
ONLY_NEW = Writes(new_strings_request, new_payloads_request)


def are_large(size: int, count: int) -> bool:
    """Whether `count` values of `size` bytes together are better sent from where they are."""
    return size > LARGE_VALUE_BYTES * count


def _joined(pieces: list[bytes], large: bool) -> Request:
    return _joined_between_large(pieces) if large else b"".join(pieces)


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
