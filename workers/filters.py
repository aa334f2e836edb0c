"""Which keys are copied: the filters of a run, and what they say of keys. Pure: `sieve.py` asks the source.

A key passes when every filter lets it pass. MATCH and TYPE are left to the source's SCAN where it can do that
(`scan_match`, `scan_type`). Of what it brings names are judged first, as that costs nothing; then, by `questions`, what
the source tells of the keys that are left. That comes before any value is read: one that is too large never travels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Protocol
from zlib import crc32

from . import globs
from .expiry import FOREVER, NEVER, Clock
from .read import each, expiries_of, expiries_request, expiry_commands
from .slots import SLOTS, Range, slots_of

TYPE = b"\r\n*2\r\n$4\r\nTYPE"
STRLEN = b"\r\n*2\r\n$6\r\nSTRLEN"
MEMORY_USAGE = b"\r\n*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE"

#: What a filter says of a key: True it passes, False it does not, None it is gone.
Verdict = bool | None


@dataclass(frozen=True)
class Filters:
    """The filters of a run. Globs are bytes, types as TYPE has them, instants in ms and in the source's clock."""

    match: bytes | None = None
    include: Sequence[bytes] = ()  # one of them must fit, if there are any
    exclude: Sequence[bytes] = ()  # none of them may fit
    types: Sequence[str] = ()
    ends_from_ms: int | None = None  # the key must not end before
    ends_until_ms: int | None = None  # the key must end, and not after
    max_bytes: int | None = None
    slots: Sequence[Range] = ()  # one of them must hold the key's slot, if there are any
    sample_below: int | None = None  # names whose CRC32 is below this are looked at
    scan_match: bool = False  # SCAN applies `match`
    scan_type: bool = False  # SCAN applies the one type

    @property
    def scan_words(self) -> list[bytes]:
        """What SCAN is told besides its cursor and COUNT; with it, it brings only some of the keys that it passes."""
        match = [b"MATCH", self.match] if self.scan_match and self.match is not None else []
        return match + ([b"TYPE", self.types[0].encode()] if self.scan_type else [])

    @property
    def sifts(self) -> bool:
        """Whether anything is left to judge after SCAN."""
        if self._names is not None or self.sample_below is not None or self.slots:
            return True
        return bool(self.questions(Clock(absolute=True)))

    @cached_property
    def _names(self) -> re.Pattern[bytes] | None:
        """What names have to fit that SCAN does not judge; None: all pass."""
        parts = [b"(?!" + globs.regex(self.exclude) + b")"] if self.exclude else []
        if self.match is not None and not self.scan_match:
            parts.append(b"(?=" + globs.regex([self.match]) + b")")
        if self.include:
            parts.append(globs.regex(self.include))
        return re.compile(b"".join(parts), re.DOTALL) if parts else None

    @cached_property
    def _wanted_slots(self) -> bytes:
        """For each slot, whether it is wanted."""
        wanted = bytearray(SLOTS)
        for first, last in self.slots:
            wanted[first : last + 1] = b"\1" * (last + 1 - first)
        return bytes(wanted)

    def named(self, keys: list[bytes]) -> list[bytes]:
        """The keys whose names pass."""
        if self.slots:
            keys = list(compress(keys, map(self._wanted_slots.__getitem__, slots_of(keys))))
        if self.sample_below is not None:
            below = self.sample_below
            keys = [key for key in keys if crc32(key) < below]
        if self._names is None:
            return keys
        fits = self._names.match
        return [key for key in keys if fits(key)]

    @property
    def of_any_size(self) -> Filters:
        """The others than that of the size."""
        return replace(self, max_bytes=None)

    def of_copies(self, ahead_ms: int) -> Filters:
        """What chooses the copies of these keys at a target, by no SCAN: its clock, which their expiries follow, is so
        far ahead of the source's.
        """
        ends = [None if end is None else end + ahead_ms for end in (self.ends_from_ms, self.ends_until_ms)]
        return replace(self, scan_match=False, scan_type=False, ends_from_ms=ends[0], ends_until_ms=ends[1])

    def questions(self, clock: Clock) -> list[Question]:
        """What a side, most of all the source, is asked about keys whose names pass."""
        found: list[Question] = []
        if self.types and not self.scan_type:
            found.append(OfType(frozenset(name.lower().encode() for name in self.types)))
        if self.ends_from_ms is not None or self.ends_until_ms is not None:
            found.append(EndsBetween(self.ends_from_ms, self.ends_until_ms, Clock(clock.absolute)))
        if self.max_bytes is not None:
            found.append(AtMost(self.max_bytes))
        return found


class Question(Protocol):
    """Something to ask about keys. A key about which an error is told passes: to read it will settle what it is."""

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        """The request about keys (as encoded arguments), and how many replies it brings."""

    def commands(self, encoded: bytes) -> list[tuple[bytes, bool]]:
        """The request about one key, command by command, and whether each names the key."""

    def verdicts(self, replies: list, count: int) -> list[Verdict]:
        """What the replies say of each of `count` keys. Raises TypeError for an error that is not about one key."""


@dataclass(frozen=True)
class OfType:
    """Is it of one of these types? They are in lower case."""

    types: frozenset[bytes]

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        """TYPE of each."""
        return each(TYPE, encoded), len(encoded)

    def commands(self, encoded: bytes) -> list[tuple[bytes, bool]]:
        """TYPE."""
        return [(each(TYPE, [encoded]), True)]

    def verdicts(self, replies: list, count: int) -> list[Verdict]:
        """By the names of the types; `none` is a key that is gone."""
        wanted = self.types
        return [
            isinstance(reply, Exception) or (None if reply == b"none" else reply.lower() in wanted) for reply in replies
        ]


@dataclass(frozen=True)
class EndsBetween:
    """Does it end between two instants? A key without expiry is after any instant."""

    since_ms: int | None
    until_ms: int | None
    clock: Clock  # without a shift: instants are the source's own; also with --no-ttl

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        """The expiry of each, with TIME."""
        return expiries_request(self.clock, encoded)

    def commands(self, encoded: bytes) -> list[tuple[bytes, bool]]:
        """Its expiry, with TIME."""
        return expiry_commands(self.clock, encoded)

    def verdicts(self, replies: list, count: int) -> list[Verdict]:
        """By the instants."""
        told = replies[1 : count + 1]  # TIME is before them, and behind them where they are PTTLs
        believed = [FOREVER if isinstance(reply, Exception) else reply for reply in told]
        timed = [replies[0], *believed, *replies[count + 1 :]]
        instants = expiries_of(timed, self.clock, count, strict=False).instants()
        since_ms, until_ms, may_last = self.since_ms or 0, self.until_ms or math.inf, self.until_ms is None
        ends = [
            None if instant is None else may_last if instant == NEVER else since_ms <= instant <= until_ms
            for instant in instants
        ]
        return [isinstance(reply, Exception) or end for reply, end in zip(told, ends)]


@dataclass(frozen=True)
class AtMost:
    """Has its value at most so many bytes? A string has those of STRLEN, any other type what MEMORY USAGE estimates."""

    most_bytes: int

    def request(self, encoded: Sequence[bytes]) -> tuple[bytes, int]:
        """STRLEN of all, then MEMORY USAGE of all: cheaper than a second round trip for what is no string."""
        return each(STRLEN, encoded) + each(MEMORY_USAGE, encoded), 2 * len(encoded)

    def commands(self, encoded: bytes) -> list[tuple[bytes, bool]]:
        """STRLEN and MEMORY USAGE."""
        return [(each(STRLEN, [encoded]), True), (each(MEMORY_USAGE, [encoded]), True)]

    def verdicts(self, replies: list, count: int) -> list[Verdict]:
        """By the sizes; MEMORY USAGE has none for a key that is gone."""
        most = self.most_bytes
        sizes = [
            used if length is None or isinstance(length, Exception) or used is None else length
            for length, used in zip(replies[:count], replies[count:])
        ]
        return [None if size is None else isinstance(size, Exception) or size <= most for size in sizes]


def together(columns: Sequence[Sequence[Verdict]]) -> list[Verdict]:
    """The verdict on each key over all questions: a column is what one of them says of the keys."""
    return [None if None in verdicts else all(verdicts) for verdicts in zip(*columns)]
