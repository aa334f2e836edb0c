"""The writer: requests that put values at the target.

Every write is of a whole key with an absolute expiry. Those that replace (MSET, SET, RESTORE … REPLACE) may be sent
again: the second time writes what the source holds then, and nothing adds up. Those that write only new keys (SET … NX,
RESTORE) are refused the second time: see `conflict.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from .batch import Batch, Columns
from .conn import Request
from .resp import CRLF, HEADS, argument
from .slots import RUN_KEYS, runs_of

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

#: Above this mean size, a value is better sent from where it is than copied once more.
LARGE_VALUE_BYTES = 4096

#: Of large values, so many bytes go into one MSET: the target answers once for them, not for each 16 KB that it reads,
#: and still has all of them in the processor's cache when the last one has come.
MSET_BYTES = 128 << 10

Ends = tuple[bytes, bytes]  # of a command: what stands before its key, and what ends it


def strings_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes strings, those without expiry by MSET where several can go into one; the number of replies.

    In a cluster an MSET takes keys of one slot only: where slots have but few keys each, a SET for each key is as good.
    """
    lasting, runs = batch.lasting, _runs_together(batch)
    if large:
        runs = [part for run in runs for part in _parts(run, lasting.values)]
    if len(runs) in (0, len(lasting)):
        return _sets(batch, large, (SET, CRLF), (SET_UNTIL, CRLF))
    pieces = _sets_until(batch.expiring, SET_UNTIL, CRLF)
    words = _by_turns(len(lasting), lasting.keys, _heads(lasting.values), lasting.values)
    for begin, end in runs:
        pieces.append(b"*%d\r\n$4\r\nMSET" % (2 * (end - begin) + 1))
        pieces += words[3 * begin : 3 * end]
        pieces.append(CRLF)
    return _joined(pieces, large), len(batch.expiring) + len(runs)


def _runs_together(batch: Batch) -> list[tuple[int, int]]:
    """Where the keys without expiry that one MSET may take begin and end; none where a SET for each key is as good."""
    count = len(batch.lasting)
    if not batch.shared or not count:
        return []
    if not batch.slotted:
        return [(0, count)]
    runs = runs_of(batch.lasting.slots)
    return runs if len(runs) * RUN_KEYS <= count else []


def _parts(run: tuple[int, int], values: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """A run of large values in parts of MSET_BYTES at most; a value that is larger is alone."""
    begin, size = run[0], 0
    for place in range(*run):
        size += len(values[place])
        if size > MSET_BYTES and place > begin:
            yield begin, place
            begin, size = place, len(values[place])
    yield begin, run[1]


def new_strings_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes strings whose keys do not exist; nil for each of the others. A reply each, as in `batch.in_order`."""
    return _sets(batch, large, (SET_NEW, NX), (SET_NEW_UNTIL, NX))


def _sets(batch: Batch, large: bool, lasting: Ends, until: Ends) -> tuple[Request, int]:
    """A SET each; what stands before the key and at the end, without and with an expiry."""
    pieces = _sets_until(batch.expiring, *until)
    keys, values = batch.lasting.keys, batch.lasting.values
    pieces += _commands(lasting, len(keys), keys, _heads(values), values)
    return _joined(pieces, large), len(batch)


def _sets_until(columns: Columns, before: bytes, after: bytes) -> list[bytes]:
    instants = _instants(PXAT, columns.instants)
    return _commands((before, after), len(columns), columns.keys, _heads(columns.values), columns.values, instants)


def payloads_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes DUMP payloads; the number of replies."""
    return _restores(batch, large, (RESTORE, REPLACE), (RESTORE_UNTIL, REPLACE_ABSTTL))


def new_payloads_request(batch: Batch, large: bool) -> tuple[Request, int]:
    """Writes DUMP payloads whose keys do not exist; the others are refused. A reply each, as in `batch.in_order`."""
    return _restores(batch, large, (RESTORE_NEW, CRLF), (RESTORE_NEW_UNTIL, ABSTTL))


def _restores(batch: Batch, large: bool, lasting: Ends, until: Ends) -> tuple[Request, int]:
    """A RESTORE each; what stands before the key and after the payload, without and with an expiry."""
    keys, payloads = batch.expiring.keys, batch.expiring.values
    instants = _instants(b"", batch.expiring.instants)
    pieces = _commands(until, len(keys), keys, instants, _heads(payloads), payloads)
    keys, payloads = batch.lasting.keys, batch.lasting.values
    never = repeat(NO_TTL, len(keys))
    pieces += _commands(lasting, len(keys), keys, never, _heads(payloads), payloads)
    return _joined(pieces, large), len(batch)


# ---- columns of pieces: without a step of ours for a key, as far as that goes ----------------------------------------


def _heads(values: Sequence[bytes]) -> Iterable[bytes]:
    """What stands before each value."""
    return map(HEADS.__getitem__, map(len, values))


def _instants(before: bytes, instants: Sequence[int]) -> Iterable[bytes]:
    """Each instant as an argument that follows `before`. Until the year 2286 all have the same number of digits."""
    if not instants:
        return ()
    digits = len(b"%d" % min(instants))
    if digits == len(b"%d" % max(instants)):
        return map((before + HEADS[digits] + b"%d").__mod__, instants)
    return [before + argument(b"%d" % instant) for instant in instants]


def _commands(ends: Ends, count: int, *columns: Iterable[bytes]) -> list[bytes]:
    """`count` commands, each with one piece of every column between its two ends."""
    if not count:
        return []
    before, after = ends
    pieces = _by_turns(count, *columns, repeat(after + before, count))
    pieces[-1] = after
    pieces.insert(0, before)
    return pieces


def _by_turns(count: int, *columns: Iterable[bytes]) -> list[bytes]:
    """The first piece of each column, then the second of each, and so on; every column has `count`."""
    pieces = [b""] * (count * len(columns))
    for place, column in enumerate(columns):
        pieces[place :: len(columns)] = column
    return pieces


Build = Callable[[Batch, bool], tuple[Request, int]]


@dataclass
class Part:
    """A batch of a window, how it is written, and the bytes of its values."""

    build: Build
    batch: Batch
    size: int


@dataclass(frozen=True)
class Writes:
    """How strings and how DUMP payloads are written."""

    strings: Build
    payloads: Build


REPLACING = Writes(strings_request, payloads_request)
ONLY_NEW = Writes(new_strings_request, new_payloads_request)


def are_large(size: float, count: int) -> bool:
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
