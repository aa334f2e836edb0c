"""RESP requests as bytes. Replies are parsed by hiredis.

`b'%b' %` and `b''.join` cost about half of what a packing function costs, so the hot path formats the templates
of `read.py` and `write.py` itself, and this file serves everything that is sent once in a while.
"""

from __future__ import annotations

#: One argument: its length and its bytes.
ARG = b"$%d\r\n%b\r\n"


def argument(value: bytes) -> bytes:
    """One encoded argument of a command."""
    return ARG % (len(value), value)


def argument_value(encoded: bytes) -> bytes:
    """The bytes in an encoded argument."""
    return encoded[encoded.index(b"\n") + 1 : -2]


def command(*words: bytes) -> bytes:
    """A whole encoded command."""
    return b"*%d\r\n" % len(words) + b"".join([ARG % (len(word), word) for word in words])


def info_fields(text: bytes) -> dict[str, str]:
    """The `name:value` lines of an INFO reply."""
    lines = text.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
