"""Keys that are no plain strings, read whole for a comparison: how each type is read, and when replies are the same.

The source is asked first what each key is and how large. Then both sides are asked at once, a command a key:

    lists, sets, hashes     their elements: to put them together as a payload costs a server several times as much, and
                            tables come in any order, so that payloads of equal sets and hashes mostly differ
    sorted sets, streams    the payload of DUMP; where that differs, as each version has encodings of its own, elements
    anything else           the payload
    gone, or large          nothing: `look.py` looks at it, in pieces

What differs here is left to `look.py` as well, as both sides were not read at one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .budget import sizes_of, sizes_request
from .filters import TYPE
from .read import TYPE_OF_PAYLOAD, each
from .structs.payload import FOOTER_BYTES

#: A collection of more bytes than this in the source's memory, or in its payload, is compared in pieces …
MOST_BYTES = 64 << 10
#: … and whatever is compared by its payload from so many on.
MOST_PAYLOAD_BYTES = 1 << 20
#: The first byte of payloads of hashes with fields that expire (rdb.h of the servers).
FIELDS_EXPIRE = (22, 23, 24, 25)

Kind = bytes  # how a key is read: a type as TYPE tells it, or one of these
PAYLOAD, CLOSELY = b"(payload)", b"(closely)"
#: What is read of these is the value or the payload itself, and as long as it is.
IN_ONE_PIECE = (b"string", PAYLOAD)

_TO_THE_END = b"\r\n$1\r\n0\r\n$2\r\n-1\r\n"
#: The command that reads a key of a kind, up to the key and from it on.
COMMANDS: dict[Kind, tuple[bytes, bytes]] = {
    b"string": (b"*2\r\n$3\r\nGET", b"\r\n"),
    b"list": (b"*4\r\n$6\r\nLRANGE", _TO_THE_END),
    b"set": (b"*2\r\n$8\r\nSMEMBERS", b"\r\n"),
    b"hash": (b"*2\r\n$7\r\nHGETALL", b"\r\n"),
    b"zset": (b"*5\r\n$6\r\nZRANGE", _TO_THE_END + b"$10\r\nWITHSCORES\r\n"),
    b"stream": (b"*6\r\n$5\r\nXINFO\r\n$6\r\nSTREAM", b"\r\n$4\r\nFULL\r\n$5\r\nCOUNT\r\n$1\r\n0\r\n"),
    PAYLOAD: (b"*2\r\n$4\r\nDUMP", b"\r\n"),
}
#: How a key of a type is read at first, and up to how many bytes; other types by their payload.
_FIRST: dict[bytes, tuple[Kind, int]] = {
    b"none": (CLOSELY, 0),  # gone
    b"string": (b"string", MOST_PAYLOAD_BYTES),
    b"list": (b"list", MOST_BYTES),
    b"set": (b"set", MOST_BYTES),
    b"hash": (b"hash", MOST_BYTES),
}
_OTHERS = (PAYLOAD, MOST_PAYLOAD_BYTES)
#: What HGETALL does not tell, the payload does: whether fields expire.
_FIRST_WHERE_FIELDS_EXPIRE = _FIRST | {b"hash": (PAYLOAD, MOST_BYTES)}
#: The footer of a payload begins with the version of its format, in so many bytes.
VERSION_BYTES = 2
_NOT_TOLD = -1


def kinds_request(encoded: Sequence[bytes]) -> tuple[bytes, int]:
    """Asks what keys are (encoded arguments) and how large; how many replies it brings."""
    sizes, count = sizes_request(encoded)
    return each(TYPE, encoded) + sizes, len(encoded) + count


def kinds_of(replies: Sequence[Any], fields_expire: bool) -> tuple[list[Kind], int]:
    """How each key is read, and the bytes of those that are not read in one piece: others tell when they come.

    Where its size is not told, a string is read as such, and anything else by its payload.
    """
    count = len(replies) // 2
    first = _FIRST_WHERE_FIELDS_EXPIRE if fields_expire else _FIRST
    kinds, total = [], 0
    for type, size in zip(replies[:count], sizes_of(replies[count:], _NOT_TOLD)):
        kind, most = first.get(type, _OTHERS)
        if size == _NOT_TOLD:
            kind = kind if kind in IN_ONE_PIECE else PAYLOAD
        elif size > most:
            kind = CLOSELY
        kinds.append(kind)
        total += 0 if kind in IN_ONE_PIECE else size
    return kinds, total


def kind_of_both(ours: bytes | None, theirs: bytes | None) -> Kind:
    """How the elements of two payloads that differ are read, or CLOSELY."""
    if ours is None or theirs is None or max(len(ours), len(theirs)) > MOST_BYTES:
        return CLOSELY
    if ours[0] in FIELDS_EXPIRE or theirs[0] in FIELDS_EXPIRE:
        return CLOSELY
    type = TYPE_OF_PAYLOAD.get(ours[0], "").encode()
    return type if type in COMMANDS and type == TYPE_OF_PAYLOAD.get(theirs[0], "").encode() else CLOSELY


# ---- sameness -----------------------------------------------------------------------------------------------


def same_of(kind: Kind, ours: Sequence[Any], theirs: Sequence[Any]) -> list[bool]:
    """Which replies of both sides tell the same of a key; never those of one that is gone, or of another type."""
    if kind == PAYLOAD:
        return _same_payloads(ours, theirs)
    same = [bool(one) and one == other for one, other in zip(ours, theirs)]
    if kind not in _SAME or all(same):
        return same
    is_same = _SAME[kind]
    return [equal or bool(one and other and is_same(one, other)) for equal, one, other in zip(same, ours, theirs)]


def _same_payloads(ours: Sequence[bytes | None], theirs: Sequence[bytes | None]) -> list[bool]:
    """Versions differ in the footer only, so then it is left out."""
    cut = -FOOTER_BYTES
    same = [one is not None and one == other for one, other in zip(ours, theirs)]
    if all(same) or _versions(ours) == _versions(theirs):
        return same
    return [one is not None and other is not None and one[:cut] == other[:cut] for one, other in zip(ours, theirs)]


def _versions(payloads: Sequence[bytes | None]) -> set[bytes]:
    """The versions of the format in these payloads: one, unless nodes of a cluster have several."""
    return {payload[-FOOTER_BYTES : VERSION_BYTES - FOOTER_BYTES] for payload in payloads if payload is not None}


def _same_members(ours: list[bytes], theirs: list[bytes]) -> bool:
    return len(ours) == len(theirs) and set(ours) == set(theirs)


def _same_fields(ours: list[bytes], theirs: list[bytes]) -> bool:
    return len(ours) == len(theirs) and _pairs(ours) == _pairs(theirs)


def _same_scores(ours: list[bytes], theirs: list[bytes]) -> bool:
    """Versions write the same number in different ways."""
    return ours[::2] == theirs[::2] and list(map(float, ours[1::2])) == list(map(float, theirs[1::2]))


def _same_streams(ours: list[Any], theirs: list[Any]) -> bool:
    one, other = _pairs(ours), _pairs(theirs)
    groups, others = (list(map(_pairs, stream.get(b"groups") or ())) for stream in (one, other))
    return _same_told(one, other, _STREAM) and len(groups) == len(others) and all(map(_same_group, groups, others))


def _same_group(one: dict[bytes, Any], other: dict[bytes, Any]) -> bool:
    consumers, others = ([_pairs(told)[b"name"] for told in group[b"consumers"]] for group in (one, other))
    return consumers == others and _same_told(one, other, _GROUP)


def _same_told(one: dict[bytes, Any], other: dict[bytes, Any], names: tuple[bytes, ...]) -> bool:
    """Whether two sides tell the same; what only the newer one of them tells (`_SINCE_7_0`) is not compared."""
    return all(name in one and one[name] == other.get(name) for name in names) and all(
        one[name] == other[name] for name in _SINCE_7_0 if name in one and name in other
    )


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    every = iter(flat)
    return dict(zip(every, every))


#: What XINFO tells of a stream and of its groups, and what clients can see: `pending` with consumers and times.
_STREAM = (b"length", b"last-generated-id", b"entries")
_GROUP = (b"name", b"last-delivered-id", b"pel-count", b"pending")
_SINCE_7_0 = (b"max-deleted-entry-id", b"entries-added", b"entries-read")

#: When replies that are not equal word for word tell the same all the same.
_SAME: dict[Kind, Callable[[Any, Any], bool]] = {
    b"set": _same_members,
    b"hash": _same_fields,
    b"zset": _same_scores,
    b"stream": _same_streams,
}
