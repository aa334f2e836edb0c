"""The values that `keyferry generate` makes up: one block's randomness, and one writer for each collection type.

A writer takes the block's `Source`, the key as a RESP bulk string, and the number of elements (at least 1); it gives
the commands, raw RESP, each with exactly one reply. It may assume that the key is not there: `synth.block` unlinks it.
Every command gives the same data on every server, whatever its clock says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from random import Random

CHUNK = 512  # elements of one command: keeps a large collection far below the server's limits on one request
WORD = 1 << 32  # numbers() draws below it

# 64 printable letters for 256 byte values: each letter is equally likely.
_LETTERS = bytes(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[i & 63] for i in range(256))
_MARK_EVERY = 61  # bytes between two CRLFs in binary noise; no divisor of a stride, so that they fall anywhere

_STREAM_START_MS = 1_700_000_000_000  # first entry's id; no clock of ours or of the server gets into a stream
_ENTRIES_PER_MS = 4  # entries that share the time part of their id
_DELIVERED_MS = 1_710_000_000_000  # pending entries; in the past, or XCLAIM would replace it with the server's clock
_PENDING_MAX = 8  # entries a group
_BITMAP_RUN_BYTES = 64  # of a bitmap are random, the others 0: a bitmap is sparse


def bulk(data: bytes) -> bytes:
    """`data` as a RESP bulk string."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def command(*words: bytes) -> bytes:
    """A whole request; for the few commands that are not written by a template."""
    return b"*%d\r\n%b" % (len(words), b"".join(map(bulk, words)))


class Source:
    """All randomness of one block, and the count of the value bytes given out.

    Only `randbytes` of the generator is used: its results for a seed are the same in all Python versions.
    """

    def __init__(self, seed: str, sizes: tuple[int, int], binary: bool) -> None:
        self._rng = Random(seed)
        self.size_min, self.size_max = sizes  # bytes of an element
        self.binary = binary
        self.value_bytes = 0

    def numbers(self, count: int) -> tuple[int, ...]:
        """`count` numbers of 0..WORD-1."""
        return struct.unpack(f"<{count}I", self._rng.randbytes(4 * count))

    def signed(self, count: int) -> tuple[int, ...]:
        """`count` numbers of -2**63..2**63-1."""
        return struct.unpack(f"<{count}q", self._rng.randbytes(8 * count))

    def between(self, count: int, low: int, high: int) -> list[int]:
        """`count` numbers, uniform in low..high; nothing is drawn when both are the same."""
        if low == high:
            return [low] * count
        span = high - low + 1  # above WORD some numbers cannot occur: only for spans of time, where nobody sees it
        return [low + (number * span >> 32) for number in self.numbers(count)]

    def sizes(self, count: int) -> list[int]:
        """The bytes of `count` elements."""
        return self.between(count, self.size_min, self.size_max)

    def raw(self, size: int) -> bytes:
        """`size` bytes of any value."""
        return self._rng.randbytes(size)

    def noise(self, size: int) -> bytes:
        """`size` bytes for values: printable, or of any value with CRLFs among them."""
        if not self.binary:
            return self._rng.randbytes(size).translate(_LETTERS)
        pool = bytearray(self._rng.randbytes(size))
        marks = (size + _MARK_EVERY - 2) // _MARK_EVERY
        pool[0 : marks * _MARK_EVERY : _MARK_EVERY] = b"\r" * marks
        pool[1::_MARK_EVERY] = b"\n" * marks
        return bytes(pool)

    def elements(self, count: int) -> list[bytes]:
        """`count` values; short ones may be equal."""
        sizes = self.sizes(count)
        total = sum(sizes)
        self.value_bytes += total
        pool, end, found = self.noise(total), 0, []
        for size in sizes:
            start, end = end, end + size
            found.append(pool[start:end])
        return found

    def members(self, start: int, count: int) -> list[bytes]:
        """`count` values, different from each other and from those of any other `start`.

        Each begins with its number; one that is too short for its number is as long as that needs.
        """
        heads = numbered(b"", b":", start, count)
        values = self.elements(count)
        found = [head + value[len(head) :] for head, value in zip(heads, values, strict=True)]
        self.value_bytes += sum(map(len, found)) - sum(map(len, values))
        return found


@lru_cache(maxsize=256)
def numbered(before: bytes, after: bytes, start: int, count: int) -> tuple[bytes, ...]:
    """`before` + number + `after` for the numbers from `start`."""
    return tuple([b"%b%d%b" % (before, number, after) for number in range(start, start + count)])


@lru_cache(maxsize=256)
def _fields(binary: bool, start: int, count: int) -> tuple[bytes, ...]:
    """The names of a hash's fields, as bulk strings."""
    return tuple(map(bulk, numbered(b"\x00\r\n\xff:" if binary else b"field:", b"", start, count)))


def _chunks(count: int) -> list[tuple[int, int]]:
    """(first element, number of elements) of each command for `count` elements."""
    return [(start, min(CHUNK, count - start)) for start in range(0, count, CHUNK)]


def _bulks(values: list[bytes]) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in values])


def write_hash(source: Source, key: bytes, count: int) -> list[bytes]:
    """Fields with fixed names; their values have the sizes asked for."""
    commands = []
    for start, size in _chunks(count):
        pairs = zip(_fields(source.binary, start, size), source.elements(size), strict=True)
        body = b"".join([b"%b$%d\r\n%b\r\n" % (field, len(value), value) for field, value in pairs])
        commands.append(b"*%d\r\n$4\r\nHSET\r\n%b%b" % (2 + 2 * size, key, body))
    return commands


def write_list(source: Source, key: bytes, count: int) -> list[bytes]:
    """Elements pushed to the right end; short ones may be equal."""
    return [
        b"*%d\r\n$5\r\nRPUSH\r\n%b%b" % (2 + size, key, _bulks(source.elements(size))) for _, size in _chunks(count)
    ]


def write_set(source: Source, key: bytes, count: int) -> list[bytes]:
    """Members that differ."""
    return [
        b"*%d\r\n$4\r\nSADD\r\n%b%b" % (2 + size, key, _bulks(source.members(start, size)))
        for start, size in _chunks(count)
    ]


def write_hyperloglog(source: Source, key: bytes, count: int) -> list[bytes]:
    """As many additions; `count` is what PFCOUNT estimates."""
    return [
        b"*%d\r\n$5\r\nPFADD\r\n%b%b" % (2 + size, key, _bulks(source.members(start, size)))
        for start, size in _chunks(count)
    ]


def write_zset(source: Source, key: bytes, count: int) -> list[bytes]:
    """Members that differ, with scores on both sides of 0.

    Scores are whole quarters: DEBUG DIGEST prints 17 digits before 8.2 and the fewest that do since, and only numbers
    without a rounding error look the same in both.
    """
    commands = []
    for start, size in _chunks(count):
        scores = [b"%.2f" % ((number >> 10) / 4 - 524_288) for number in source.numbers(size)]
        pairs = zip(scores, source.members(start, size), strict=True)
        body = b"".join(
            [b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(score), score, len(member), member) for score, member in pairs]
        )
        commands.append(b"*%d\r\n$4\r\nZADD\r\n%b%b" % (2 + 2 * size, key, body))
    return commands


def write_geo(source: Source, key: bytes, count: int) -> list[bytes]:
    """Members that differ, anywhere on the part of the globe that a server accepts (latitudes to 85 degrees)."""
    commands = []
    for start, size in _chunks(count):
        spots = source.numbers(2 * size)
        words: list[bytes] = []
        for east, north, member in zip(spots[::2], spots[1::2], source.members(start, size), strict=True):
            words += (b"%.6f" % (east * 360 / WORD - 180), b"%.6f" % (north * 170 / WORD - 85), member)
        commands.append(b"*%d\r\n$6\r\nGEOADD\r\n%b%b" % (2 + 3 * size, key, _bulks(words)))
    return commands


def write_bitmap(source: Source, key: bytes, _count: int) -> list[bytes]:
    """One element: a sparse bitmap of at least a byte, its last bit set first, then a run of random bytes."""
    (size,) = source.sizes(1)
    size = max(size, 1)
    source.value_bytes += size
    run = source.raw(min(size, _BITMAP_RUN_BYTES))
    (offset,) = source.between(1, 0, size - len(run))
    last_bit = bulk(b"%d" % (8 * size - 1))
    return [
        b"*4\r\n$6\r\nSETBIT\r\n%b%b$1\r\n1\r\n" % (key, last_bit),
        b"*4\r\n$8\r\nSETRANGE\r\n%b%b%b" % (key, bulk(b"%d" % offset), bulk(run)),
    ]


def _entry_id(number: int) -> bytes:
    """The id of a stream's entry; 15 bytes long for streams of up to 33 * 10**12 entries."""
    return b"%d-%d" % (_STREAM_START_MS + number // _ENTRIES_PER_MS, number % _ENTRIES_PER_MS)


def write_stream(source: Source, key: bytes, count: int) -> list[bytes]:
    """Entries with one field each and explicit ids, then one or two consumer groups."""
    commands = []
    for start, size in _chunks(count):
        commands += [
            b"*5\r\n$4\r\nXADD\r\n%b$15\r\n%b\r\n$5\r\nfield\r\n$%d\r\n%b\r\n"
            % (key, _entry_id(number), len(value), value)
            for number, value in enumerate(source.elements(size), start)
        ]
    groups, *delivered = source.numbers(3)
    for number in range(1 + groups % 2):
        commands += _group(key, b"group:%d" % number, delivered[number] * (count + 1) >> 32)
    return commands


def _group(key: bytes, group: bytes, delivered: int) -> list[bytes]:
    """A group that has read the first `delivered` entries: two consumers share the last ones, a third has none.

    XREADGROUP would note the server's clock as the time of delivery, so the entries are claimed with a time that we
    name. Only the consumers' own times (seen, active) are the server's: no command sets those.
    """
    ids = [_entry_id(number) for number in range(max(0, delivered - _PENDING_MAX), delivered)]
    commands = [
        b"*5\r\n$6\r\nXGROUP\r\n$6\r\nCREATE\r\n%b%b%b" % (key, bulk(group), bulk(ids[-1] if ids else b"0-0")),
        b"*5\r\n$6\r\nXGROUP\r\n$14\r\nCREATECONSUMER\r\n%b%b$4\r\nidle\r\n" % (key, bulk(group)),
    ]
    for number, claimed in enumerate((ids[::2], ids[1::2])):
        if claimed:
            words = [group, b"consumer:%d" % number, b"0", *claimed]
            words += [b"TIME", b"%d" % (_DELIVERED_MS + delivered), b"RETRYCOUNT", b"%d" % (number + 1)]
            words += [b"FORCE", b"JUSTID"]
            commands.append(b"*%d\r\n$6\r\nXCLAIM\r\n%b%b" % (2 + len(words), key, _bulks(words)))
    return commands


WRITERS: dict[str, Callable[[Source, bytes, int], list[bytes]]] = {
    "bitmap": write_bitmap,
    "hyperloglog": write_hyperloglog,
    "hash": write_hash,
    "list": write_list,
    "set": write_set,
    "zset": write_zset,
    "geo": write_geo,
    "stream": write_stream,
}
