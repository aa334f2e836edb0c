"""RESP requests as bytes. Replies are parsed by hiredis.

A packing function for whole commands costs about twice what formatting and joining cost. So the hot path joins encoded
arguments and formats the templates of `read.py` and `write.py`; `command` serves what is sent once in a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add


class _Heads(dict[int, bytes]):
    """What stands before an argument of so many bytes; made when first asked for. Only short ones are kept."""

    def __missing__(self, size: int) -> bytes:
        head = b"\r\n$%d\r\n" % size
        if size < 1 << 16:
            self[size] = head
        return head


#: `HEADS[len(word)] + word` is an encoded argument: it begins, not ends, with the line break, so that a command is
#: its name, its arguments, and one line break more. Looking a head up costs half of what formatting it does.
HEADS = _Heads()
CRLF = b"\r\n"
#: What a server says to a write that has gone well. All have this very object, so that comparing costs least.
OK = b"OK"


def argument(word: bytes) -> bytes:
    """One encoded argument of a command."""
    return HEADS[len(word)] + word


def arguments(words: Sequence[bytes]) -> list[bytes]:
    """Each of several words as an encoded argument."""
    return list(map(add, map(HEADS.__getitem__, map(len, words)), words))


def argument_value(encoded: bytes) -> bytes:
    """The bytes in an encoded argument."""
    return encoded[encoded.index(b"\n", 2) + 1 :]


def command(*words: bytes) -> bytes:
    """A whole encoded command."""
    return b"*%d" % len(words) + b"".join([HEADS[len(word)] + word for word in words]) + CRLF


def info_fields(text: bytes) -> dict[str, str]:
    """The `name:value` lines of an INFO reply."""
    lines = text.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
