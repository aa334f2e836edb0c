"""Is what stands at the target what we would write? Asked only about keys whose write was refused.

    value or payload, and expiry ─→ differ in bytes: the elements of both sides ─→ SAME, OTHER, or GONE meanwhile

The same value can have two payloads: tables of sets and hashes come in any order, and versions have encodings of
their own. So where payloads differ, elements decide, for all types whose elements tell everything. Groups of
streams and types of modules are not looked into: in doubt the answer is OTHER.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from .expiry import NEVER, Clock
from .policy import Action, first_error, rule_for
from .read import Method, Read, expiries_of, expiries_request, values_request
from .resp import command

if TYPE_CHECKING:
    from .conn import Connection
    from .link import Link

#: Known to all versions; what it tells is right to the millisecond or two.
TARGET_CLOCK = Clock(absolute=False)
#: Expiries of 6.2 are told relative to its clock, and clocks are measured again: so far apart may the same ones lie.
TOLERANCE_MS = 100
#: At the end of a payload: the version of its format, and a checksum.
FOOTER_BYTES = 10
#: Elements are read in one reply: not of a payload that is larger.
ELEMENTS_MAX_BYTES = 16 << 20
#: Types of payloads of hashes whose fields may expire.
FIELDS_EXPIRE = (22, 23, 24, 25)


class Verdict(Enum):
    """What stands at the target."""

    SAME = "same"
    OTHER = "other"
    GONE = "gone"


def _scores(reply: list[bytes]) -> list[tuple[bytes, float]]:
    """Versions write the same number in different ways."""
    return sorted(zip(reply[::2], map(float, reply[1::2])))


def _stream_state(reply: list[Any]) -> dict[bytes, Any]:
    """What XINFO STREAM tells in all versions; with groups there is more to a stream than this."""
    state = dict(zip(reply[::2], reply[1::2]))
    if state[b"groups"]:
        raise ValueError("groups are not looked into")
    return {name: state[name] for name in (b"length", b"last-generated-id")}


def _pairs(reply: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(reply[::2], reply[1::2]))


#: By type: commands that read all elements, up to the key and from it on, and how each reply becomes comparable.
ELEMENTS: dict[str, list[tuple[list[bytes], list[bytes], Callable[[Any], Any]]]] = {
    "string": [([b"GET"], [], bytes)],
    "list": [([b"LRANGE"], [b"0", b"-1"], list)],
    "set": [([b"SMEMBERS"], [], sorted)],
    "hash": [([b"HGETALL"], [], _pairs)],
    "zset": [([b"ZRANGE"], [b"0", b"-1", b"WITHSCORES"], _scores)],
    "stream": [([b"XRANGE"], [b"-", b"+"], list), ([b"XINFO", b"STREAM"], [], _stream_state)],
}


class Same:
    """Compares one key as it was `read` with the target's; then told(verdict)."""

    def __init__(self, link: Link, node: int, read: Read, told: Callable[[Verdict], None]) -> None:
        self.link, self.node, self.read, self.told = link, node, read, told

    @property
    def target(self) -> Connection:
        """The target's connection, as long as it lasts."""
        return self.link.router.sinks[self.node].conn

    def start(self) -> None:
        """Ask for the target's value and expiry."""
        method = Method.DUMP if self.read.is_payload else Method.GET
        request, count = values_request(method, [self.read.encoded])
        more, more_count = expiries_request(TARGET_CLOCK, [self.read.encoded])
        self.target.ask(request + more, count + more_count, self._answered)

    def _answered(self, replies: list) -> None:
        if self._in_trouble("target", replies):
            return
        if first_error(replies):  # another type, or nothing that we may look at
            return self.told(Verdict.OTHER)
        value, *when = replies
        (instant,) = expiries_of(when, TARGET_CLOCK, 1, strict=False).instants()
        if value is None or instant is None:
            self.told(Verdict.GONE)
        elif not self._same_expiry(instant):
            self.told(Verdict.OTHER)
        elif self._bare(value) == self._bare(self.read.value):
            self.told(Verdict.SAME)
        elif self.read.is_payload and self.read.type in ELEMENTS and len(self.read.value) <= ELEMENTS_MAX_BYTES:
            self._ask_for_elements()
        else:
            self.told(Verdict.OTHER)

    def _ask_for_elements(self) -> None:
        reads = ELEMENTS[self.read.type]
        request = b"".join([command(*before, self.read.key, *after) for before, after, _ in reads])
        self._ask_both(request, len(reads), self._compare_elements)

    def _compare_elements(self, ours: list, theirs: list) -> None:
        forms = [form for _, _, form in ELEMENTS[self.read.type]]
        try:
            same = all(form(one) == form(other) for form, one, other in zip(forms, ours, theirs))
        except (TypeError, ValueError):  # an error reply, as for another type, or more than elements
            same = False
        if same and self.read.value[0] in FIELDS_EXPIRE:
            return self._ask_for_field_expiries(list(_pairs(ours[0])))
        self.told(Verdict.SAME if same else Verdict.OTHER)

    def _ask_for_field_expiries(self, fields: list[bytes]) -> None:
        request = command(b"HPEXPIRETIME", self.read.key, b"FIELDS", b"%d" % len(fields), *fields)

        def compare(ours: list, theirs: list) -> None:
            self.told(Verdict.SAME if isinstance(ours[0], list) and ours == theirs else Verdict.OTHER)

        self._ask_both(request, 1, compare)

    def _ask_both(self, request: bytes, count: int, then: Callable[[list, list], None]) -> None:
        def answered(ours: list, theirs: list) -> None:
            if not (self._in_trouble("source", ours) or self._in_trouble("target", theirs)):
                then(ours, theirs)

        self.link.reader.ask(request, count, lambda ours: self.target.ask(request, count, partial(answered, ours)))

    def _in_trouble(self, side: str, replies: list) -> bool:
        """Whether a server is in a state that passes: then everything is asked again."""
        error = first_error(replies)
        if error is not None and rule_for(error).action in (Action.REDIRECT, Action.SPLIT):
            self.link.learn(self.node, error)
            self.told(Verdict.GONE)  # not here any more: it is copied again, where it belongs
            return True
        if error is None or rule_for(error).action is not Action.WAIT:
            return False
        self.link.trouble(side, self.node, error, self.start)
        return True

    def _same_expiry(self, instant: int) -> bool:
        if NEVER in (instant, self.read.instant):
            return instant == self.read.instant
        return abs(instant - self.read.instant - self.link.router.sinks[self.node].later_ms) <= TOLERANCE_MS

    def _bare(self, value: bytes) -> bytes:
        return value[:-FOOTER_BYTES] if self.read.is_payload else value
