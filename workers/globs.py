r"""Globs as the servers' own matcher (`stringmatchlen` in util.c) understands them, compiled to regular expressions.

    *      any bytes, also none          [abc]  one of these bytes       \x  the byte x
    ?      one byte                      [^a-z] one byte, none of these

They work on bytes, so a letter that is not ASCII counts as several. What the servers make of odd globs is kept: a class
without its end goes on to the end of the glob, `[a-]` is a range that ends at `]`, a backslash at the very end
stands for itself, and the empty name is matched by `*` and the empty glob alone. The ends of a range are signed
bytes, as in servers built for x86-64: `[a-\xff]` is everything from \xff, which is -1, to `a`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_STAR, _ANY, _OPEN, _CLOSE, _BACKSLASH, _NOT, _DASH = b"*?[]\\^-"


def regex(globs: Iterable[bytes]) -> bytes:
    """A regular expression (for re.DOTALL) that fits a whole name if one of the globs does."""
    return b"(?:" + b"|".join(map(_one, globs)) + b")"


def flaw(glob: bytes) -> str:
    """What makes a glob a probable mistake, in words; '' where it is none."""
    at = 0
    while at < len(glob):
        if glob[at] == _BACKSLASH and at + 1 == len(glob):
            return "ends with a lone backslash"
        if glob[at] == _OPEN:
            _, end = _class(glob, at + 1)
            if end > len(glob):
                return "has a [ without its ]"
            at = end
        else:
            at += 2 if glob[at] == _BACKSLASH else 1
    return ""


def _one(glob: bytes) -> bytes:
    """The expression of one glob. What follows a star is tried at its first place only: a later one never helps."""
    if glob == b"*":
        return rb".*\Z"
    first, *rest = _pieces(glob)
    if not rest:
        return first + rb"\Z"
    middle = b"".join([b"(?>.*?" + piece + b")" for piece in rest[:-1] if piece])
    return b"(?=.)" + first + middle + b".*" + rest[-1] + rb"\Z"


def _pieces(glob: bytes) -> list[bytes]:
    """The expressions between the stars of a glob; each fits a fixed number of bytes."""
    pieces, at = [b""], 0
    while at < len(glob):
        byte = glob[at]
        at += 1
        if byte == _STAR:
            pieces.append(b"")
        elif byte == _ANY:
            pieces[-1] += b"."
        elif byte == _OPEN:
            fitting, at = _class(glob, at)
            pieces[-1] += fitting
        else:
            if byte == _BACKSLASH and at < len(glob):
                byte = glob[at]
                at += 1
            pieces[-1] += re.escape(bytes([byte]))
    return pieces


def _class(glob: bytes, at: int) -> tuple[bytes, int]:
    """The expression of the class whose inside begins at `at`, and the index after it; one too far without a `]`."""
    negated = glob[at : at + 1] == b"^"
    at += negated
    fitting: set[int] = set()
    while at < len(glob) and glob[at] != _CLOSE:
        if glob[at] == _BACKSLASH and at + 1 < len(glob):
            fitting.add(glob[at + 1])
            at += 2
        elif at + 2 < len(glob) and glob[at + 1] == _DASH:
            fitting |= _range(glob[at], glob[at + 2])
            at += 3
        else:
            fitting.add(glob[at])
            at += 1
    return _set_of(set(range(256)) - fitting if negated else fitting), at + 1


def _range(one: int, other: int) -> set[int]:
    low, high = sorted((_signed(one), _signed(other)))
    return {value & 0xFF for value in range(low, high + 1)}


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _set_of(values: set[int]) -> bytes:
    """An expression for one byte out of a set; of an empty one nothing fits."""
    return b"[" + b"".join([rb"\x%02x" % value for value in sorted(values)]) + b"]" if values else b"(?!)"
