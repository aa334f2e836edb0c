"""Strings: byte by byte, in pieces; hyperloglogs by their registers, as they cache and compress what they count."""

from __future__ import annotations

from . import hyperloglog
from .ask import Steps, Times, first, pair, unequal_at

#: Bytes that one request asks for.
PIECE_BYTES = 1 << 20


def differs(key: bytes, times: Times) -> Steps[str]:
    """The first byte that differs, or ''."""
    at = 0
    while True:
        words = (b"GETRANGE", key, b"%d" % at, b"%d" % (at + PIECE_BYTES - 1))
        ours, theirs = yield from pair([words], first)
        if ours != theirs:
            if at == 0 and hyperloglog.is_one(ours) and hyperloglog.is_one(theirs):
                return hyperloglog.what_differs(ours, theirs)
            return f"byte {at + unequal_at(ours, theirs)}"
        if len(ours) < PIECE_BYTES:
            return ""
        at += PIECE_BYTES
