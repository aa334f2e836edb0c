"""Cuts a byte stream into whole RESP frames, and writes replies. For the proxy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hiredis

#: Types whose header gives the length of the bytes that follow, and those whose header counts frames that follow.
SIZED = b"$=!"
COUNTED = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}


class Frames:
    """Requests or replies out of the pieces in which they arrive. Each byte of a header is looked at once, so that a
    reply of a million elements costs no more for coming in small pieces."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # where the next header begins
        self._missing = 1  # elements that the frame at hand still needs

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that `data` completes."""
        self._data += data
        start = 0
        while self._element():
            if self._missing == 0:
                yield bytes(memoryview(self._data)[start : self._at])
                start, self._missing = self._at, 1
        del self._data[:start]
        self._at -= start

    def _element(self) -> bool:
        """Step over one header with its bytes; False when it is not all there."""
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            return False
        kind = self._data[self._at]
        after = end + 2
        more = 0
        if kind in SIZED:
            size = int(self._data[self._at + 1 : end])
            after += size + 2 if size >= 0 else 0
            if after > len(self._data):
                return False
        elif kind in COUNTED:
            more = max(0, int(self._data[self._at + 1 : end])) * COUNTED[kind]
        self._missing += more - 1
        self._at = after
        return True


def decoded(frame: bytes) -> Any:
    """The value of one frame, as hiredis reads it."""
    reader = hiredis.Reader()
    reader.feed(frame)
    return reader.gets()


def words(request: bytes) -> list[bytes]:
    """The arguments of a request, also of one that is typed as a line."""
    return list(decoded(request)) if request[:1] == b"*" else request.split()


def encoded(reply: Any) -> bytes:
    """A reply on the wire. Text (str) is a simple string, an exception an error, bytes a bulk string, None a null."""
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, str):
        return b"+%b\r\n" % reply.encode()
    if isinstance(reply, Exception):
        return b"-%b\r\n" % str(reply).encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, dict):
        return b"%%%d\r\n" % len(reply) + b"".join(encoded(part) for pair in reply.items() for part in pair)
    return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))
