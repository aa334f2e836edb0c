"""The value reader: requests that fetch the values and expiries of one window's keys, and what their replies hold.

Methods of reading (`Method`):
    MGET   one command for all strings; nil for whatever is no string. The cheapest for small strings.
    GET    one command a key; cheaper for large values, whose first byte can be used before the last has come.
    DUMP   one command a key, any type; costs the server compression and a checksum.

A value and its expiry are two commands. Another client's write can fall between them when the request is longer
than one 16 KB read of the server; a snapshot copy then may hold the old value with the new expiry. Windows are
kept short, and that is all that can be done without MULTI.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from .expiry import Clock, Expiries, time_ms
from .resp import CRLF, command

#: Commands of one key, up to the key; each also ends the command before it, so that they can join a list of keys.
PEXPIRETIME = b"\r\n*2\r\n$11\r\nPEXPIRETIME"
PTTL = b"\r\n*2\r\n$4\r\nPTTL"
GET = b"\r\n*2\r\n$3\r\nGET"
DUMP = b"\r\n*2\r\n$4\r\nDUMP"
TIME = command(b"TIME")
INFO_KEYSPACE = command(b"INFO", b"keyspace")


#: Two TIMEs this close together are one moment, as far as expiries are concerned.
MOMENT_MS = 3
#: A source that is never quick enough to tell them in one moment is believed after so many tries.
MOMENT_TRIES = 40


class Apart(Exception):
    """The expiries of a window were not read in one moment."""


class Method(Enum):
    """How values are read."""

    MGET = "mget"
    GET = "get"
    DUMP = "dump"


def values_request(method: Method, encoded: Sequence[bytes]) -> tuple[bytes, int]:
    """The request for the values of keys (as encoded arguments), and how many replies it brings."""
    if method is Method.MGET:
        return b"*%d\r\n$4\r\nMGET" % (len(encoded) + 1) + b"".join(encoded) + CRLF, 1
    return each(GET if method is Method.GET else DUMP, encoded), len(encoded)


def each(name: bytes, encoded: Sequence[bytes]) -> bytes:
    """One command for each key."""
    return name[len(CRLF) :] + name.join(encoded) + CRLF


def expiries_request(clock: Clock, encoded: Sequence[bytes]) -> tuple[bytes, int]:
    """TIME and the expiry of each key; how many replies it brings. PTTLs stand between two TIMEs: see `expiries_of`."""
    if clock.absolute:
        return TIME + each(PEXPIRETIME, encoded), len(encoded) + 1
    return TIME + each(PTTL, encoded) + TIME, len(encoded) + 2


def values_of(method: Method, replies: list, count: int) -> list:
    """The values among the replies to `values_request` for `count` keys, and to what followed it. Raises TypeError."""
    if method is not Method.MGET:
        return replies[:count]
    if isinstance(replies[0], Exception):
        raise TypeError(replies[0])
    return replies[0]


def expiries_of(replies: list, clock: Clock, strict: bool = True) -> Expiries:
    """What `expiries_request` brought; raises TypeError where TIME was refused.

    A server may do other clients' work in the middle of a long request. A PTTL counts from the moment when it was
    executed, somewhere between the two TIMEs around it; half-way is the best guess. With `strict`, Apart is raised
    where they are too far apart for a guess.
    """
    if clock.absolute:
        return Expiries.told(replies[1:], _now_ms(replies[0]), clock)
    before_ms, after_ms = _now_ms(replies[0]), _now_ms(replies[-1])
    if strict and after_ms - before_ms > MOMENT_MS:
        raise Apart
    return Expiries.told(replies[1:-1], (before_ms + after_ms) // 2, clock)


def _now_ms(reply: object) -> int:
    if not isinstance(reply, list):
        raise TypeError(reply)
    return time_ms(reply)


def database_has_expiries(info: object, db: int) -> bool:
    """Whether an INFO keyspace reply leaves it possible that a key of `db` expires."""
    if not isinstance(info, bytes):
        return True
    return not re.search(rb"^db%d:keys=\d+,expires=0(,|\r|$)" % db, info, re.MULTILINE)
