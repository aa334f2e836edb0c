"""TopK of RedisBloom: by what DUMP returns, without the addresses at which the server keeps the items.

A payload of a module is a type, an id, and values that each say of what kind they are (rdb.h and module.c of the
servers). Those of a TopK: k, width, depth, decay, the sketch, its heap of k buckets, and the items of the heap:

    bucket   4 bytes fingerprint · 4 bytes length of the item · 8 bytes address of the item · 4 bytes count · 4 unused

Addresses differ from server to server, and from one RESTORE to the next.
"""

from __future__ import annotations

import struct
from typing import Any

from .ask import Steps, Times, pair, unequal_at
from .module import FOOTER_BYTES

_MODULE = 7  # the first byte of a payload
_END, _SIGNED, _UNSIGNED, _FLOAT, _DOUBLE, _STRING = range(6)  # of what kind a value is
_BUCKET = struct.Struct("<II8xI4x")
_K, _HEAP = 1, 6  # where they are among the values, behind the id


def differs(key: bytes, times: Times) -> Steps[str]:
    """The first value of the payload that differs, or ''."""
    ours, theirs = yield from pair([(b"DUMP", key)], lambda replies: values_of(replies[0] or b""))
    return f"payload value {unequal_at(ours, theirs)}" if ours != theirs else ""


def values_of(payload: bytes) -> list[Any]:
    """What a payload holds, with the heap as a list of buckets; the payload itself where it is not as we know it."""
    body = payload[:-FOOTER_BYTES]
    try:
        values = _Reader(body).values()
        if len(values[_HEAP]) != values[_K] * _BUCKET.size:
            return [body]
        values[_HEAP] = list(_BUCKET.iter_unpack(values[_HEAP]))
    except (IndexError, TypeError, ValueError, struct.error):
        return [body]
    return values


class _Reader:
    """Reads a payload from its beginning. Raises IndexError, ValueError or struct.error where it is not as expected."""

    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 0

    def values(self) -> list[Any]:
        """The id of the module, then all values."""
        if self._take(1)[0] != _MODULE:
            raise ValueError
        found: list[Any] = [self._length()]
        while (kind := self._length()) != _END:
            if kind in (_SIGNED, _UNSIGNED):
                found.append(self._length())
            elif kind in (_FLOAT, _DOUBLE):
                found.append(self._take(4 if kind == _FLOAT else 8))
            elif kind == _STRING:
                found.append(self._string())
            else:
                raise ValueError
        return found

    def _take(self, count: int) -> bytes:
        begin, self.at = self.at, self.at + count
        if self.at > len(self.body):
            raise IndexError
        return self.body[begin : self.at]

    def _length(self) -> int:
        first = self._take(1)[0]
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 0x3F) << 8 | self._take(1)[0]
        if first in (0x80, 0x81):
            return int.from_bytes(self._take(4 if first == 0x80 else 8), "big")
        raise ValueError

    def _string(self) -> bytes:
        first = self.body[self.at]
        if first in (0xC0, 0xC1, 0xC2):  # a number, of 1, 2 or 4 bytes
            self.at += 1
            return b"%d" % int.from_bytes(self._take(1 << (first & 3)), "little", signed=True)
        if first == 0xC3:
            self.at += 1
            size, whole = self._length(), self._length()
            return _decompressed(self._take(size), whole)
        return self._take(self._length())


def _decompressed(data: bytes, size: int) -> bytes:
    """What LZF has made smaller: literal bytes, and copies of what came before."""
    found, at = bytearray(), 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            found += data[at : at + control + 1]
            at += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += data[at]
            at += 1
        begin = len(found) - ((control & 31) << 8 | data[at]) - 1
        at += 1
        if begin < 0:
            raise ValueError
        for offset in range(begin, begin + count + 2):  # it may run into what it writes
            found.append(found[offset])
    if len(found) != size:
        raise ValueError
    return bytes(found)
