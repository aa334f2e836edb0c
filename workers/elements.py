"""Small collections compared whole: for keys whose payloads differ, though their elements may be the same.

Tables of sets and hashes come in any order, and versions have encodings of their own. So many keys of a window may need
this that they are asked for together. What is large, has fields that expire, or is of another type, is left to
`look.py`; so is whatever differs here, as both sides were not read at one moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .read import TYPE_OF_PAYLOAD

#: Payloads of more bytes than this are compared in pieces.
MOST_BYTES = 64 << 10
#: The first byte of payloads of hashes with fields that expire (rdb.h of the servers).
FIELDS_EXPIRE = (22, 23, 24, 25)


def _pairs(reply: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(reply[::2], reply[1::2]))


def _scores(reply: list[bytes]) -> list[tuple[bytes, float]]:
    return list(zip(reply[::2], map(float, reply[1::2])))


#: By type: the command up to its key and from it on, and what makes two of its replies comparable.
_READS: dict[str, tuple[bytes, bytes, Callable[[Any], Any]]] = {
    "list": (b"*4\r\n$6\r\nLRANGE", b"\r\n$1\r\n0\r\n$2\r\n-1\r\n", list),
    "set": (b"*2\r\n$8\r\nSMEMBERS", b"\r\n", set),
    "hash": (b"*2\r\n$7\r\nHGETALL", b"\r\n", _pairs),
    "zset": (b"*5\r\n$6\r\nZRANGE", b"\r\n$1\r\n0\r\n$2\r\n-1\r\n$10\r\nWITHSCORES\r\n", _scores),
}


def type_of_both(ours: bytes | None, theirs: bytes | None) -> str:
    """The type of two payloads that can be compared here, or ''."""
    if ours is None or theirs is None or max(len(ours), len(theirs)) > MOST_BYTES:
        return ""
    if ours[0] in FIELDS_EXPIRE or theirs[0] in FIELDS_EXPIRE:
        return ""
    type = TYPE_OF_PAYLOAD.get(ours[0], "")
    return type if type in _READS and type == TYPE_OF_PAYLOAD.get(theirs[0]) else ""


def whole_command(type: str, encoded: bytes) -> bytes:
    """Reads all elements of a key (as an encoded argument)."""
    before, after, _ = _READS[type]
    return before + encoded + after


def same_elements(type: str, ours: Any, theirs: Any) -> bool:
    """Whether two replies hold the same elements; False where one is none, as the key is of another type by now."""
    if not (isinstance(ours, list) and isinstance(theirs, list)):
        return False
    form = _READS[type][2]
    return bool(ours == theirs or form(ours) == form(theirs))
