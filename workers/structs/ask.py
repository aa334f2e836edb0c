"""What comparisons of elements have in common: how they ask, and how they look twice before they find a difference.

A comparison is a generator: it yields what it wants to know of one side, is sent the replies, and returns its finding.
So it can be written from top to bottom, while hundreds of them are under way on the same connections (`walk.py`).

HOW IT STAYS RIGHT WHILE THE SOURCE IS WRITTEN TO
    The source is read, then the target, and where they differ the source once more. Equal readings of the source
    around another one of the target are a difference, however busy the key is; unequal ones tell nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import key_text
from ..expiry import LATEST
from ..resp import command

SOURCE, TARGET = "source", "target"

#: A copy may have expired so long before what it is a copy of, or as long as the tolerance is, where that is less.
MOMENT_MS = 100
#: Elements that one request asks for, at first …
FIRST_CHUNK = 128
#: … and later: as many as bring about so many bytes, but not more than CHUNK_MOST.
CHUNK_BYTES = 256 << 10
CHUNK_MOST = 4096
#: A collection of at most so many elements is read in one piece where pieces would have to be looked up one by one.
WHOLE = 512

#: How errors begin that tell of a key which became of another type, or of a stream or a group that is gone by now.
NOT_THERE = ("WRONGTYPE", "ERR no such key", "NOGROUP")

T = TypeVar("T")
Commands = Sequence[tuple[bytes, ...]]


@dataclass(frozen=True)
class Ask:
    """What one side is asked."""

    side: str
    request: bytes
    count: int  # replies


Steps = Generator[Ask, list[Any], T]


@dataclass(frozen=True)
class Times:
    """How instants of both sides compare: the target's clock is `shift_ms` ahead of the source's."""

    shift_ms: int = 0
    tolerance_ms: int = 0

    @property
    def moment_ms(self) -> int:
        """What only the source has, with less to live than this, counts as expired: its copy has gone before."""
        return min(self.tolerance_ms, MOMENT_MS)

    def equal(self, ours_ms: int, theirs_ms: int) -> bool:
        """Whether two instants are the same; below 0 there is none."""
        if ours_ms < 0 or theirs_ms < 0:
            return ours_ms < 0 and theirs_ms < 0
        return abs(min(ours_ms + self.shift_ms, LATEST) - theirs_ms) <= self.tolerance_ms


class Changing(Exception):
    """The key was changed while it was looked at."""


class Unreadable(Exception):
    """A side refuses to show the key; the text says which and why."""


def ask(side: str, *commands: tuple[bytes, ...]) -> Steps[list[Any]]:
    """The replies of one side. Raises Unreadable for an error reply, Changing where what is asked for is gone."""
    replies = yield from ask_all(side, *commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise Changing if str(reply).startswith(NOT_THERE) else Unreadable(f"{side}: {reply}")
    return replies


def ask_all(side: str, *commands: tuple[bytes, ...]) -> Steps[list[Any]]:
    """The same, with errors among the replies."""
    return (yield Ask(side, b"".join([command(*words) for words in commands]), len(commands)))


def pair(commands: Commands, form: Callable[[list[Any]], T]) -> Steps[tuple[T, T]]:
    """What `form` makes of the replies of both sides. Where that differs, the source has said the same twice."""
    ours = form((yield from ask(SOURCE, *commands)))
    theirs = form((yield from ask(TARGET, *commands)))
    if ours != theirs and form((yield from ask(SOURCE, *commands))) != ours:
        raise Changing
    return ours, theirs


def first(replies: list[Any]) -> Any:
    """The only reply."""
    return replies[0]


def next_chunk(count: int, size: int) -> int:
    """How many elements to ask for next, after `count` of them had `size` bytes."""
    return max(1, min(CHUNK_MOST, 2 * count, CHUNK_BYTES * count // max(size, 1)))


def unequal_at(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    """The first index at which two sequences differ."""
    for index, (one, other) in enumerate(zip(ours, theirs)):
        if one != other:
            return index
    return min(len(ours), len(theirs))


def named(what: str, name: bytes) -> str:
    """`field "name"`, with a long name cut short."""
    return f"{what} {key_text(name[:100])}"
