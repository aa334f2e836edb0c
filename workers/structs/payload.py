"""What a payload of a module holds, as DUMP returns it: an id, and values that each say of what kind they are.

The same values may be other bytes at each server, as it makes strings smaller or not, by a setting (rdb.h, rdb.c and
lzf_d.c of the servers).
"""

from __future__ import annotations

#: At the end of a payload: the version of its format, and a checksum.
FOOTER_BYTES = 10

_MODULE = 7  # the first byte of a payload
_END, _SIGNED, _UNSIGNED, _FLOAT, _DOUBLE, _STRING = range(6)  # of what kind a value is
_COMPRESSED = 0xC3  # the first byte of a string that LZF has made smaller
_HEAD_BYTES = 32  # the lengths of a string, or a number in its place, need no more

Value = tuple[int, int | bytes]  # its kind, and itself


def body_of(payload: bytes | None) -> bytes:
    """A payload without its footer; nothing for a key that is gone."""
    return (payload or b"")[:-FOOTER_BYTES]


def values_of(body: bytes) -> list[Value] | None:
    """The id of the module, then all values; None where the payload is not as we know it."""
    try:
        return _Reader(body).values()
    except (IndexError, ValueError):
        return None


def string_bytes(payload: bytes) -> int | None:
    """How long the string is that a payload holds, compressed or not; None where the payload is not as we know it."""
    try:
        return _Reader(payload[1 : 1 + _HEAD_BYTES]).string_bytes()
    except (IndexError, ValueError):
        return None


class _Reader:
    """Reads a payload from its beginning. Raises IndexError or ValueError where it is not as expected."""

    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 0

    def values(self) -> list[Value]:
        """All of them."""
        if self._take(1)[0] != _MODULE:
            raise ValueError
        found: list[Value] = [(_UNSIGNED, self._length())]
        while (kind := self._length()) != _END:
            if kind in (_SIGNED, _UNSIGNED):
                found.append((kind, self._length()))
            elif kind in (_FLOAT, _DOUBLE):
                found.append((kind, self._take(4 if kind == _FLOAT else 8)))
            elif kind == _STRING:
                found.append((kind, self._string()))
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

    def string_bytes(self) -> int:
        """The length of the string that begins here."""
        first = self.body[self.at]
        if first in (0xC0, 0xC1, 0xC2):
            return len(self._string())
        if first == _COMPRESSED:
            self.at += 1
            self._length()  # compressed
        return self._length()

    def _string(self) -> bytes:
        first = self.body[self.at]
        if first in (0xC0, 0xC1, 0xC2):  # a number, of 1, 2 or 4 bytes
            self.at += 1
            return b"%d" % int.from_bytes(self._take(1 << (first & 3)), "little", signed=True)
        if first == _COMPRESSED:
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
        _append_copy(found, begin, count + 2)
    if len(found) != size:
        raise ValueError
    return bytes(found)


def _append_copy(found: bytearray, begin: int, count: int) -> None:
    """Append `count` bytes from `begin` on: a copy that runs into what it writes repeats what lies between."""
    piece = found[begin : begin + count]
    found += (piece * -(-count // len(piece)))[:count]
