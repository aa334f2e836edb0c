"""Replies, out of the bytes that a connection receives: each request gets as many as it has commands, in order.

FOUR WAYS, by what is known of a request's replies (`Way`):
    each      Nothing is known. hiredis gives them one by one. It is fed little at a time, for with each reply it moves
              all that it has not parsed yet.
    flat      None is an array, and mostly all are OK, as those to writes: then bytes are compared instead of parsed.
    marked    The request ends with the PING of a mark. hiredis is told of an array of so many replies before their
              bytes come, and gives all of them at once, which costs half. It is fed a little too much; the mark tells
              where the next request's replies begin, and from there on another parser goes on.
    unparsed  Who asks can do with the bytes of all replies in one piece (`unparsed.py`). Marked as well: so it is known
              where they begin, and that they are as many as they should be.

A mark is random, and used once: no value can hold one before it has been asked for, and the first that comes is it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import hiredis

from .compiled import BUILT
from .errors import told
from .resp import OK
from .unparsed import skip


class Way(Enum):
    """How the replies to a request are taken: see above."""

    EACH = auto()
    FLAT = auto()
    MARKED = auto()
    UNPARSED = auto()


#: The bytes of replies; a list has the replies themselves.
Unparsed = bytearray
#: Takes the replies to a request: a list, or where it was asked for so Unparsed, or a list all the same.
Then = Callable[[Any], None]

#: One recv call takes at most this much: on a busy machine there is about as much when it is our turn.
RECV_BYTES = 1 << 18
#: hiredis is given so much at a time, and more only inside of a long reply.
FEED_BYTES = 1 << 16

#: What hiredis gives when it has no whole reply; no reply equals it.
_NO_MORE = object()
#: As many replies OK as one recv call can bring, with the rest of one that was cut before.
_OK_LINE = b"+OK\r\n"
_OK_LINES = _OK_LINE * (RECV_BYTES // len(_OK_LINE) + 2)
#: A mark is of hexadecimal digits, so that no line ends within it.
_MARK_RANDOM_BYTES = 8
_PING_MARK = b"*2\r\n$4\r\nPING\r\n$%d\r\n%b\r\n"
_MARK_REPLY = b"$%d\r\n%b\r\n"

#: Where all connections of the process receive: it is emptied at once.
recv_buffer = bytearray(RECV_BYTES)


def new_mark() -> bytes:
    """A mark that nobody else knows."""
    return os.urandom(_MARK_RANDOM_BYTES).hex().encode()


def mark_request(mark: bytes) -> bytes:
    """What brings the mark as a reply."""
    return _PING_MARK % (len(mark), mark)


def listed(replies: Unparsed | list) -> list:
    """The replies themselves. Raises hiredis.ProtocolError."""
    if isinstance(replies, list):
        return replies
    parser = _parser()
    parser.feed(replies)  # type: ignore[arg-type]
    return list(iter(parser.gets, _NO_MORE))


def _parser() -> hiredis.Reader:
    return hiredis.Reader(notEnoughData=_NO_MORE)


@dataclass(slots=True)
class _Asked:
    """A request whose replies are due: `count`, besides that to the mark, if there is one."""

    count: int
    then: Then
    way: Way
    mark: bytes
    head: bytes

    @property
    def due(self) -> int:
        return self.count + bool(self.mark)


class Unforeseen(Exception):
    """Replies of a kind that nobody foresees, or a bug in what takes them. `asked` says to which commands."""

    def __init__(self, head: bytes, count: int, error: Exception) -> None:
        super().__init__(told(error))
        name = head.split(b"\r\n", 3)[2].decode("ascii", "replace")
        self.asked = name if count == 1 else f"{name}, or to what was asked with it,"


class Replies:
    """What is due is `expect`ed; bytes are taken in by `take`; `deliver` hands over what has come whole."""

    def __init__(self) -> None:
        self._parser = _parser()
        self._asked: deque[_Asked] = deque()
        self._got: list = []  # of the first request that is due, and of those after it
        self._whole: deque[tuple[_Asked, Unparsed | list]] = deque()
        self._at_border = False  # the parser is known to have nothing, and the next byte is a request's first
        self._as_one = False  # the parser was told of an array
        self._cut_bytes = 0  # of an OK that has come in part, and that the parser was not given
        self._held = Unparsed()  # of the first request that is due, where it wants its replies so
        self._skipped = self._awaited = 0  # how much of these bytes is whole replies, and how many are still to come

    def expect(self, count: int, then: Then, way: Way = Way.EACH, mark: bytes = b"", head: bytes = b"") -> None:
        """So many replies more are due, and that to the mark, if there is one; `then` gets those without it.

        The `head` of the request names its first command.
        """
        self._asked.append(_Asked(count, then, way, mark, head))

    @property
    def due(self) -> bool:
        """Whether something was asked that is not answered."""
        return bool(self._asked or self._whole)

    def sole_error(self) -> Exception | None:
        """The error that is all that has come of what is due; None where nothing has, or anything else."""
        return self._got[0] if len(self._got) == 1 and isinstance(self._got[0], Exception) else None

    def give_up(self) -> list[tuple[int, Then]]:
        """Nothing more will come: who has not got his replies, and how many they would have been."""
        left = [(asked.count, asked.then) for asked, _ in self._whole]
        left += [(asked.count, asked.then) for asked in self._asked]
        self._whole.clear()
        self._asked.clear()
        return left

    def deliver(self) -> None:
        """Hand over what has come whole, in order. Raises Unforeseen where who asked cannot make anything of it."""
        while self._whole:
            asked, replies = self._whole.popleft()
            try:
                asked.then(replies)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise Unforeseen(asked.head, asked.count, error) from error

    # ---- parsing --------------------------------------------------------------------------------------------

    def take(self, size: int) -> None:
        """Take in so many bytes of `recv_buffer`. Raises hiredis.ProtocolError."""
        at, step = size if self._are_oks(size) else 0, FEED_BYTES
        while at < size:
            if BUILT and self._at_border and self._asked and self._asked[0].way is Way.UNPARSED:
                at = self._take_unparsed(at, size)
                continue
            if self._at_border and self._asked and self._asked[0].mark:
                self._parser.feed(b"*%d\r\n" % self._asked[0].due)
                self._as_one = True
            self._at_border = False
            end = min(at + step, size)
            self._parser.feed(recv_buffer, at, end - at)  # type: ignore[arg-type]
            came, at = self._take_array(at, end) if self._as_one else self._take_each(at, end)
            step = FEED_BYTES if came else 2 * step if self._as_one else size

    def _take_unparsed(self, at: int, end: int) -> int:
        """Keep what belongs to the first request's replies; where to go on."""
        held, before = self._held, len(self._held)
        try:
            if not before:
                whole, self._awaited = skip(memoryview(recv_buffer)[at:end], 0, self._asked[0].due)
                held = recv_buffer[at : end if self._awaited else at + whole]
            else:
                held += memoryview(recv_buffer)[at:end]
                whole, self._awaited = skip(held, self._skipped, self._awaited)
        except ValueError as error:
            raise hiredis.ProtocolError(str(error)) from None
        if self._awaited:
            self._held, self._skipped = held, whole
            return end
        del held[whole:]
        self._held = Unparsed()
        self._complete_unparsed(held)
        return at + whole - before

    def _complete_unparsed(self, held: Unparsed) -> None:
        mark = self._asked[0].mark
        reply = _MARK_REPLY % (len(mark), mark)
        if not held.endswith(reply):
            self._complete(listed(held))  # the server has refused it, with all that came before, or there is a fault
            return
        del held[-len(reply) :]
        self._whole.append((self._asked.popleft(), held))

    def _take_array(self, at: int, end: int) -> tuple[bool, int]:
        """Whether the replies of a marked request are whole now, and where to go on."""
        replies = self._parser.gets()
        if replies is _NO_MORE:
            return False, end
        self._as_one = False
        if mark := self._complete(replies):
            return True, self._past_mark(mark, at, end)
        return self._take_each(at, end)  # what has come after these replies is in the parser

    def _take_each(self, at: int, end: int) -> tuple[bool, int]:
        """Whether there was any reply, and where to go on."""
        new = list(iter(self._parser.gets, _NO_MORE))
        got, taken = self._got, 0
        got += self._replies_among(new)
        while self._asked and len(got) - taken >= self._asked[0].due:
            begin, taken = taken, taken + self._asked[0].due
            if mark := self._complete(got[begin:taken]):
                got.clear()  # what has come beyond the mark comes again
                return True, self._past_mark(mark, at, end)
        del got[:taken]
        return bool(new), end

    def _replies_among(self, new: list) -> list:
        """What of all that the server has said are replies."""
        return new

    def _complete(self, replies: list) -> bytes:
        """The first request has its replies; its mark, if that has come: a server that is busy refuses it as well."""
        asked = self._asked[0]
        found = replies.pop() if asked.mark else b""
        if found != asked.mark and not isinstance(found, Exception):
            raise hiredis.ProtocolError("a reply too many, or too few")
        self._whole.append((self._asked.popleft(), replies))
        return b"" if isinstance(found, Exception) else asked.mark

    def _past_mark(self, mark: bytes, at: int, end: int) -> int:
        """Where the next request's replies begin; another parser is there to go on with them."""
        line = mark + b"\r\n"
        begin = recv_buffer.find(line, at, end)
        # One that has begun in what came before ends with the first line: it holds no line's end itself.
        past = begin + len(line) if begin >= 0 else recv_buffer.find(b"\n", at, end) + 1
        if past < end:
            self._parser = _parser()
        self._at_border = True
        return past

    def _are_oks(self, size: int) -> bool:
        """Take bytes that are replies OK and nothing else, without a parser.

        Inside of an array they would be no replies; so this is for where a reply begins, or has begun with them, to a
        request that brings no array.
        """
        cut = self._cut_bytes
        at_reply = bool(self._asked) and self._asked[0].way is Way.FLAT and not self._parser.has_data()
        if not at_reply or not recv_buffer.startswith(_OK_LINES[cut : cut + size]):
            if cut:
                self._parser.feed(_OK_LINE[:cut])
                self._cut_bytes = 0
            return False
        oks, self._cut_bytes = divmod(cut + size, len(_OK_LINE))
        self._got += [OK] * oks
        while self._asked and len(self._got) >= self._asked[0].due:
            due = self._asked[0].due
            self._complete(self._got[:due])
            del self._got[:due]
        self._at_border = not (self._got or self._cut_bytes)
        return True
