"""The language in which a test says what goes wrong on a connection: parsed into rules, and printed again.

    map        [rule {";" rule}]                       an empty map: everything passes
    rule       fault [direction] [moment] [which] ["always"]
    fault      "cut"              close both ends (FIN); what comes later is thrown away
               "reset"            close both ends by RST
               "half-close"       close one direction only; needs a direction
               "stall"            pass nothing on, keep everything open, until released
               "slow" N           N bytes a second in each direction, until released
               "garbage"          bytes that are no RESP, into the replies
               "delay" T "ms"     a longer link: round trips take T ms more, half in each direction; order and
                                  bandwidth stay
               "translate" A=B{,C=D}   addresses (host:port) in what servers tell about a cluster
    direction  "requests" | "replies"                  default: both
    moment     "at connect"                            the default
               "after" N "bytes"                       before the byte that follows
               "at request" NAME{/NAME} [N]            before the N-th such request of a connection passes, default 1
               "at reply" NAME{/NAME} [N]              before the reply to it passes
    which      "connection" N ["+"]                    counted from 1; with "+" all from that one on; default: all

A direction limits half-close, stall, slow and delay, and says whose bytes count for `after`. A rule fires once, and
later connections are healthy, unless it says `always`; `delay` and `translate` belong to the link and always hold.

    cut at request SCAN 3 connection 2
    stall requests at request MSET/SET/RESTORE
    cut at reply MGET; reset at connect connection 3+ always
    delay 20ms
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CUT, RESET, HALF_CLOSE, STALL, SLOW, GARBAGE, DELAY, TRANSLATE = FAULTS = (
    "cut", "reset", "half-close", "stall", "slow", "garbage", "delay", "translate",
)  # fmt: skip
REQUESTS, REPLIES = DIRECTIONS = ("requests", "replies")
CONNECT, BYTES, REQUEST, REPLY = "connect", "bytes", "request", "reply"

Pairs = tuple[tuple[str, str], ...]


class BadMap(ValueError):
    """A map that is none; says which word is wrong."""


@dataclass(frozen=True)
class Moment:
    """At connect, after `number` bytes, or at the `number`-th request or reply of the commands `names` (capitals)."""

    kind: str = CONNECT
    number: int = 0
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == CONNECT:
            return "at connect"
        if self.kind == BYTES:
            return f"after {self.number} bytes"
        return f"at {self.kind} {'/'.join(self.names)} {self.number}"


@dataclass(frozen=True)
class Rule:
    """One thing that goes wrong. `value`: bytes a second of `slow`, ms of `delay`; `pairs`: those of `translate`.

    `connection` 0 means any; with `later` it means that one and all after it.
    """

    fault: str
    value: float = 0
    pairs: Pairs = ()
    direction: str = ""
    moment: Moment = Moment()
    connection: int = 0
    later: bool = False
    always: bool = False

    @property
    def once(self) -> bool:
        """Whether the rule is spent once it has fired."""
        return not self.always and self.fault not in (DELAY, TRANSLATE)

    def meets(self, connection: int) -> bool:
        """Whether the connection with this number is meant."""
        return self.connection in (0, connection) or (self.later and connection > self.connection)

    def __str__(self) -> str:
        which = f"connection {self.connection}{'+' if self.later else ''}" if self.connection else ""
        words = (self._fault(), self.direction, str(self.moment), which, "always" if self.always else "")
        return " ".join(filter(None, words))

    def _fault(self) -> str:
        if self.fault == SLOW:
            return f"slow {self.value:.0f}"
        if self.fault == DELAY:
            return f"delay {self.value!r}ms"
        return f"translate {','.join(map('='.join, self.pairs))}" if self.fault == TRANSLATE else self.fault


def text_of(rules: list[Rule]) -> str:
    """The map that `parse` makes these rules of."""
    return "; ".join(map(str, rules))


def parse(text: str) -> list[Rule]:
    """The rules of a map; raises BadMap."""
    return [_rule(_Words(part.split(), part.strip())) for part in text.split(";") if part.strip()]


@dataclass
class _Words:
    """The words of one rule that are still to be read."""

    left: list[str]
    rule: str

    def next(self, what: str) -> str:
        if not self.left:
            raise BadMap(f"{self.rule!r}: {what} is missing at its end")
        return self.left.pop(0)

    def take(self, *words: str) -> str:
        """The next word if it is one of these, else ""."""
        return self.left.pop(0) if self.left and self.left[0] in words else ""

    def number(self, what: str, convert: Callable[[str], float] = int, end: str = "") -> float:
        word = self.next(what)
        try:
            if word.endswith(end) and (number := convert(word.removesuffix(end))) >= 0:
                return number
        except ValueError:
            pass
        raise BadMap(f"{self.rule!r}: {word!r} is no {what}")


def _rule(words: _Words) -> Rule:
    fault = words.next("a fault")
    if fault not in FAULTS:
        raise BadMap(f"{words.rule!r}: there is no fault {fault!r}, only {', '.join(FAULTS)}")
    value, pairs = _value(fault, words)
    direction = words.take(*DIRECTIONS)
    if fault == HALF_CLOSE and not direction:
        raise BadMap(f"{words.rule!r}: half-close needs a direction, {' or '.join(DIRECTIONS)}")
    moment = _moment(words)
    connection, later = _connection(words)
    always = bool(words.take("always"))
    if words.left:
        raise BadMap(f"{words.rule!r}: {words.left[0]!r} has no meaning there")
    return Rule(fault, value, pairs, direction, moment, connection, later, always)


def _value(fault: str, words: _Words) -> tuple[float, Pairs]:
    if fault == SLOW:
        if rate := words.number("number of bytes a second"):
            return rate, ()
        raise BadMap(f"{words.rule!r}: with 0 bytes a second it is a stall")
    if fault == DELAY:
        return words.number("time in ms", float, "ms"), ()
    if fault != TRANSLATE:
        return 0, ()
    pairs = [tuple(pair.split("=")) for pair in words.next("a pair of addresses").split(",")]
    if any(len(pair) != 2 or not all(":" in address for address in pair) for pair in pairs):
        raise BadMap(f"{words.rule!r}: translate takes host:port=host:port")
    return 0, tuple((pair[0], pair[1]) for pair in pairs)


def _moment(words: _Words) -> Moment:
    if words.take("after"):
        number = int(words.number("number of bytes"))
        if words.next("bytes") != "bytes":
            raise BadMap(f"{words.rule!r}: after N bytes")
        return Moment(BYTES, number)
    if not words.take("at"):
        return Moment()
    kind = words.next("a moment")
    if kind == CONNECT:
        return Moment()
    if kind not in (REQUEST, REPLY):
        raise BadMap(f"{words.rule!r}: there is no moment {kind!r}")
    names = tuple(words.next("a command").upper().split("/"))
    numbered = words.left and words.left[0].isdecimal()
    return Moment(kind, _counted(words) if numbered else 1, names)


def _connection(words: _Words) -> tuple[int, bool]:
    if not words.take("connection"):
        return 0, False
    later = bool(words.left) and words.left[0].endswith("+")
    return _counted(words, "+" if later else ""), later


def _counted(words: _Words, end: str = "") -> int:
    """A number that counts from 1."""
    number = int(words.number("number", int, end))
    if number < 1:
        raise BadMap(f"{words.rule!r}: things are counted from 1")
    return number
