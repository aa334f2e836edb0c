"""Replies that stay the bytes that they came as: what can be done with them at once, by the one part in C (`c/`).

    splice    a window's replies become its writes
    alike     two sides have said the same of a window's keys

Each does what parsing and the Python behind it do together, for replies that are as expected, and comes to the same; of
anything else it says None, and all is parsed. Where it was not built (`compiled.py`), nothing is taken unparsed: the
same requests are sent, and more of the processor's time is taken.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from .compiled import BUILT
from .expiry import Clock
from .read import MOMENT_MS

if BUILT:
    from . import _unparsed

#: How the source was asked for expiries, in the words of `c/values.h`.
_UNASKED, _ABSOLUTE, _RELATIVE = range(3)


def skip(replies: bytearray | memoryview, begin: int, due: int) -> tuple[int, int]:
    """Pass whole replies, of which `due` are awaited: where the first that is cut short begins, and how many are then.

    The parts of an array count one by one, so that it can be gone on with where it was cut. Raises ValueError where no
    reply begins.
    """
    return _unparsed.skip(replies, begin, due)


class Asked(IntEnum):
    """How the source was asked for values, in the words of `c/values.h`."""

    MGET = 0
    MGETS = 1  # one for each slot
    GET = 2
    DUMP = 3


class Takers(NamedTuple):
    """The nodes of the target that may take keys of a window; and how its keys lie in slots, where these matter."""

    ahead_ms: tuple[int, ...] = (0,)  # for each node: how far its clock is ahead of the first one's
    may_share: bool = True  # a command may take several keys; where there are owners, of one slot, and slots are sorted
    slots: list[int] | None = None  # of each key
    owners: list[int] | None = None  # for each slot of the cluster, the place of its node; None: one takes all


ONE_NODE = Takers()


class Spliced(NamedTuple):
    """What is written of a window, and what it holds; sizes in bytes, of values."""

    requests: list[tuple[int, bytes, int]]  # place of the node, its request, how many commands
    copied: int  # keys; those that are neither told here nor odd are gone
    strings: int  # of them
    size: int
    largest: int
    odd: list[int]  # places of keys that a MGET or DUMP answered by nil, a GET by their being no strings
    past: int  # where the replies begin that were not looked at


def splice(
    replies: bytearray, keys: list[bytes], asked: Asked, clock: Clock | None, takers: Takers = ONE_NODE
) -> Spliced | None:
    """What replaces `keys` (encoded arguments) by the values that were asked for.

    With a `clock` that wants them, the replies to `read.expiries_request` follow. None where anything is not as
    expected.
    """
    if clock and clock.wanted:
        expiries = (_ABSOLUTE if clock.absolute else _RELATIVE, clock.shift_ms, MOMENT_MS)
    else:
        expiries = (_UNASKED, 0, 0)
    places = takers.may_share, takers.slots, takers.owners
    found = _unparsed.splice(replies, keys, asked, *expiries, *places, takers.ahead_ms)
    return found and Spliced(*found)


class Alike(NamedTuple):
    """What two sides have said alike."""

    size: int  # in bytes, of all values but arrays
    our_past: int  # where the replies begin that were not looked at …
    their_past: int  # … and those of the other side


def alike(ours: bytearray, theirs: bytearray, count: int, arrays: int, expiries: bool) -> Alike | None:
    """Whether `count` values, of which none is nil, empty as a collection or an error, are the same bytes.

    They are the parts of so many `arrays`, as MGETs have brought them; where these are none, of a command each. With
    `expiries`, TIME and a PEXPIRETIME of each key follow, which are the same as well; their clocks may differ. None
    where anything differs, or is not as expected.
    """
    found = _unparsed.alike(ours, theirs, count, arrays, expiries)
    return found and Alike(*found)
