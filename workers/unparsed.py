"""Replies that stay the bytes that they came as: what can be done with them at once, by the one part in C (`c/`).

    splice    a window's replies become its writes
    alike     two sides have said the same of a window's keys

Each does what parsing and the Python behind it do together, for replies that are as expected, and comes to the same; of
anything else it says None, and all is parsed. Where it was not built (`compiled.py`), nothing is taken unparsed: the
same requests are sent, and more of the processor's time is taken.
"""

from __future__ import annotations

from typing import NamedTuple

from .compiled import BUILT
from .expiry import Clock
from .read import MOMENT_MS

if BUILT:
    from . import _unparsed

#: How the source was asked for expiries, in the words of `c/splice.c`.
_UNASKED, _ABSOLUTE, _RELATIVE = range(3)


def skip(replies: bytearray | memoryview, begin: int, due: int) -> tuple[int, int]:
    """Pass whole replies, of which `due` are awaited: where the first that is cut short begins, and how many are then.

    The parts of an array count one by one, so that it can be gone on with where it was cut. Raises ValueError where no
    reply begins.
    """
    return _unparsed.skip(replies, begin, due)


class Spliced(NamedTuple):
    """What is written of a window, and what it holds; sizes in bytes, of values."""

    request: bytes
    commands: int
    copied: int  # keys; those that are neither told here nor odd are gone
    strings: int  # of them
    size: int
    largest: int
    odd: list[int]  # places of keys that were answered by nil
    past: int  # where the replies begin that were not looked at


def splice(replies: bytearray, keys: list[bytes], dumped: bool, clock: Clock | None) -> Spliced | None:
    """What replaces `keys` (encoded arguments) by the values that an MGET, or a DUMP of each, has brought.

    With a `clock` that wants them, the replies to `read.expiries_request` follow. None where anything is not as
    expected.
    """
    if clock and clock.wanted:
        told = _ABSOLUTE if clock.absolute else _RELATIVE
        found = _unparsed.splice(replies, keys, dumped, told, clock.shift_ms, MOMENT_MS)
    else:
        found = _unparsed.splice(replies, keys, dumped, _UNASKED, 0, 0)
    return found and Spliced(*found)


class Alike(NamedTuple):
    """What two sides have said alike."""

    size: int  # in bytes, of all values but arrays
    our_past: int  # where the replies begin that were not looked at …
    their_past: int  # … and those of the other side


def alike(ours: bytearray, theirs: bytearray, count: int, in_array: bool, expiries: bool) -> Alike | None:
    """Whether `count` values, of which none is nil, empty as a collection or an error, are the same bytes.

    `in_array`: as MGET has brought them, else by a command each. With `expiries`, TIME and a PEXPIRETIME of each key
    follow, which are the same as well; their clocks may differ. None where anything differs, or is not as expected.
    """
    found = _unparsed.alike(ours, theirs, count, in_array, expiries)
    return found and Alike(*found)
