"""The value reader: requests that fetch the values and expiries of one window's keys, and what their replies hold.

Methods of reading (`Method`):
    MGET   one command for all strings; nil for whatever is no string. The cheapest for small strings.
    GET    one command a key; cheaper for large values, whose first byte can be used before the last has come.
    DUMP   one command a key, any type; costs the server compression and a checksum.

A value and its expiry are two commands. Another client's write can fall between them when the request is longer
than one 16 KB read of the server; a snapshot copy then may hold the old value with the new expiry. Windows are
kept short, and that is all that can be done without MULTI. With MULTI … EXEC around a window's request
(`in_one_moment`, for --atomic) nothing falls between.

WHY A TRANSACTION DOES NOT GET IN THE WAY of others on its connection: it is one request, queued in one piece, so no
command of another lane can come to lie between MULTI and EXEC. EXEC ends it whatever has happened before; an EXEC that
is refused discards it.

WHERE EXPIRIES ARE LEFT BEHIND (--no-ttl) none is asked for. The read itself says that a key was alive: for one whose
time is up the server answers nil, whether it was collected or not. A key read in its last millisecond was alive as
well, and becomes permanent by the same wish as one that had a year to go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain

from .expiry import Clock, Expiries, none_of, time_ms
from .policy import Action, rule_for
from .resp import CRLF, command

#: Commands of one key, up to the key; each also ends the command before it, so that they can join a list of keys.
PEXPIRETIME = b"\r\n*2\r\n$11\r\nPEXPIRETIME"
PTTL = b"\r\n*2\r\n$4\r\nPTTL"
GET = b"\r\n*2\r\n$3\r\nGET"
DUMP = b"\r\n*2\r\n$4\r\nDUMP"
EXISTS = b"\r\n*2\r\n$6\r\nEXISTS"
TIME = command(b"TIME")
MULTI, EXEC = command(b"MULTI"), command(b"EXEC")
INFO_KEYSPACE = command(b"INFO", b"keyspace")


#: Two TIMEs this close together are one moment, as far as expiries are concerned.
MOMENT_MS = 3
#: A source that is never quick enough to tell them in one moment is believed after so many tries.
MOMENT_TRIES = 40


class Apart(Exception):
    """The expiries of a window were not read in one moment."""


#: The first byte of a DUMP payload (rdb.h of the servers).
TYPE_OF_PAYLOAD = {
    0: "string",
    **dict.fromkeys((1, 10, 14, 18), "list"),
    **dict.fromkeys((2, 11, 20), "set"),
    **dict.fromkeys((3, 5, 12, 17), "zset"),
    **dict.fromkeys((4, 9, 13, 16, 22, 23, 24, 25), "hash"),
    **dict.fromkeys((15, 19, 21), "stream"),
    **dict.fromkeys((6, 7), "module"),
}


@dataclass(frozen=True)
class Read:
    """One key as it was read: a string's value, or a payload, and the target's instant at which it ends."""

    key: bytes
    encoded: bytes
    value: bytes
    instant: int
    is_payload: bool

    @property
    def type(self) -> str:
        """As TYPE has it, or `unknown`."""
        return TYPE_OF_PAYLOAD.get(self.value[0], "unknown") if self.is_payload else "string"


class Method(Enum):
    """How values are read."""

    MGET = "mget"
    GET = "get"
    DUMP = "dump"


Runs = Sequence[tuple[int, int]]  # of keys that lie in one slot: (begin, end)


def values_request(method: Method, encoded: Sequence[bytes], runs: Runs | None = None) -> tuple[bytes, int]:
    """The request for the values of keys (as encoded arguments), and how many replies it brings.

    `runs` are needed for MGET at a cluster, where it takes keys of one slot only.
    """
    if method is not Method.MGET:
        return each(GET if method is Method.GET else DUMP, encoded), len(encoded)
    if runs is None:
        return b"*%d\r\n$4\r\nMGET" % (len(encoded) + 1) + b"".join(encoded) + CRLF, 1
    pieces = []
    for begin, end in runs:
        pieces.append(b"*%d\r\n$4\r\nMGET" % (end - begin + 1))
        pieces += encoded[begin:end]
        pieces.append(CRLF)
    return b"".join(pieces), len(runs)


def each(name: bytes, encoded: Sequence[bytes]) -> bytes:
    """One command for each key."""
    return name[len(CRLF) :] + name.join(encoded) + CRLF


def expiries_request(clock: Clock, encoded: Sequence[bytes]) -> tuple[bytes, int]:
    """TIME and the expiry of each key; how many replies it brings. PTTLs stand between two TIMEs: see `expiries_of`."""
    if not clock.wanted:
        return b"", 0
    if clock.absolute:
        return TIME + each(PEXPIRETIME, encoded), len(encoded) + 1
    return TIME + each(PTTL, encoded) + TIME, len(encoded) + 2


def expiry_commands(clock: Clock, encoded: bytes) -> list[tuple[bytes, bool]]:
    """What `expiries_request` asks about one key, command by command, and whether each names the key."""
    if not clock.wanted:
        return []
    if clock.absolute:
        return [(TIME, False), (each(PEXPIRETIME, [encoded]), True)]
    return [(TIME, False), (each(PTTL, [encoded]), True), (TIME, False)]


def exists_request(encoded: Sequence[bytes]) -> tuple[bytes, int]:
    """The request that asks of each key whether it exists, and how many replies it brings."""
    return each(EXISTS, encoded), len(encoded)


def in_one_moment(request: bytes, replies: int) -> tuple[bytes, int]:
    """The request as a transaction; how many replies it brings: see `moment_of`."""
    return MULTI + request + EXEC, replies + 2


def moment_of(replies: list) -> list:
    """The replies of the commands inside of `in_one_moment`; of a transaction that failed, the cause for each."""
    if isinstance(replies[-1], list):
        return replies[-1]
    # The first error is the cause: what was refused before EXEC, which tells only that something was.
    return [next(reply for reply in replies if isinstance(reply, Exception))] * (len(replies) - 2)


def values_of(method: Method, replies: list) -> list:
    """The values among the replies to `values_request`. Raises TypeError."""
    if method is not Method.MGET:
        return replies
    if len(replies) == 1 and isinstance(replies[0], list):
        return replies[0]
    return list(chain.from_iterable(replies))  # an error is not iterable


def one_each(values: list, keys: int) -> list:
    """The values, if there is one for each of so many keys; else nobody knows whose they are: TypeError.

    A server always says so many. A proxy that puts a reply together of those of several may not.
    """
    if len(values) != keys:
        raise TypeError(f"{len(values)} values of {keys} keys")
    return values


def odd_keys(method: Method, keys: Sequence[bytes], values: list) -> Sequence[bytes]:
    """The keys that are no strings, or gone, as the read for strings tells them; TypeError for any other error."""
    errors = [value for value in values if isinstance(value, Exception)]
    if any(method is not Method.GET or rule_for(error).action is not Action.OTHER_METHOD for error in errors):
        raise TypeError("an error that is not ours to judge here")
    if method is Method.DUMP:
        return ()
    # MGET says nil for both, GET says nil only for a key that is gone.
    sign = type(None) if method is Method.MGET else Exception
    return [key for key, value in zip(keys, values) if isinstance(value, sign)]


def expiries_of(replies: list, clock: Clock, count: int, strict: bool = True) -> Expiries:
    """What `expiries_request` brought for `count` keys; raises TypeError where TIME was refused.

    A server may do other clients' work in the middle of a long request. A PTTL counts from the moment when it was
    executed, somewhere between the two TIMEs around it; half-way is the best guess. With `strict`, Apart is raised
    where they are too far apart for a guess.
    """
    if not clock.wanted:
        return none_of(count)
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


def fields_may_expire(info: object, db: int) -> bool:
    """Whether an INFO keyspace reply leaves it possible that a field of a hash of `db` expires."""
    if not isinstance(info, bytes):
        return True
    return not re.search(rb"^db%d:.*,(subexpiry|keys_with_volatile_items)=0(,|\r|$)" % db, info, re.MULTILINE)


def counts_expiring_fields(info: object) -> bool:
    """Whether an INFO keyspace reply tells of hashes with fields that expire, in any database."""
    return isinstance(info, bytes) and bool(re.search(rb",(subexpiry|keys_with_volatile_items)=[1-9]", info))
