"""Kinds of values of options: how the text of each is read, and what its value is.

A kind serves the command line, the environment and the Python API alike. Texts carry units, values do not (`units.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import units
from .workers import globs
from .workers.endpoint import checked_host, place_of

#: What TYPE says of keys; a module's type has a name of nine letters, digits or `-_`.
KEY_TYPES = ("string", "list", "set", "zset", "hash", "stream", "vectorset")
_MODULE_TYPE = re.compile(r"[A-Za-z0-9_-]{9}")
#: The kernel and the servers count in numbers that longer times, in ms, and larger sizes do not fit into.
_LONGEST_S, _LARGEST = 10**9, 1 << 63


@dataclass(frozen=True)
class Kind:
    """`read` turns text into a value or raises ValueError(message[, hint]); `holds` says whether a value is valid."""

    wanted: str  # what a valid value is, in words
    read: Callable[[str], Any]
    holds: Callable[[Any], bool]

    def parse(self, text: str) -> Any:
        """The value of a text. Raises ValueError(message[, hint])."""
        return self._valid(self.read(text))

    def accept(self, value: object) -> Any:
        """The value that a Python caller gave, as itself or as the text of an option. Raises ValueError."""
        return self.parse(value) if isinstance(value, str) else self._valid(value)

    def _valid(self, value: Any) -> Any:
        if not self.holds(value):
            raise ValueError(f"must be {self.wanted}")
        return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: object) -> bool:
    if _is_number(value) and value > _LONGEST_S:  # type: ignore[operator]
        raise ValueError(f"must be at most {_LONGEST_S} s, some 30 years")
    return _is_number(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    """No file, user or shell can be told a zero byte; only Python callers can give one."""
    if isinstance(value, str) and "\0" in value:
        raise ValueError("has a zero byte")
    return _is_text(value) and bool(value)


def whole(least: int, most: int = 10**12) -> Kind:
    """A whole number from `least` to `most`."""
    wanted = f"a whole number from {least} to {most}" if most < 10**12 else f"a whole number of at least {least}"

    def holds(value: Any) -> bool:
        if _is_whole(value) and value > most:
            raise ValueError(f"must be at most {most}" if most >= 10**12 else f"must be {wanted}")
        return _is_whole(value) and bool(least <= value)

    return Kind(wanted, lambda text: units.digits(text, wanted), holds)


def _count(text: str) -> int:
    return units.digits(text, COUNTS.wanted)


def choice(*names: str) -> Kind:
    """One of some words."""
    return Kind(f"one of {', '.join(names)}", str, lambda value: value in names)


def _time_or_command(text: str) -> float | str:
    if text.isalpha() and text != "replicate":
        raise ValueError("must be a duration like 5s, for ping: replicate")
    return text if text == "replicate" else units.seconds(text)


def _rate(text: str) -> int:
    return units.digits(text, RATE.wanted)


def _bandwidth(text: str) -> int:
    """A size, as bytes a second."""
    try:
        return units.size(text)
    except ValueError:
        raise ValueError(f"must be {BANDWIDTH.wanted}", "10mb is 10 * 1024 * 1024 bytes, 10m is 10,000,000") from None


def _sample(text: str) -> float:
    """A share as a number below 1, or 1.0 for 100%; a number of keys as an int."""
    return units.share(text) if text.endswith("%") else units.digits(text, "a number of keys, or a share like 1%")


def _is_sample(value: object) -> bool:
    return (isinstance(value, float) and 0 < value <= 1) or (_is_whole(value) and value > 0)  # type: ignore[operator]


def _span(one: Callable[[str], Any]) -> Callable[[str], tuple[Any, Any]]:
    """Reader of `LOW-HIGH`, or of one value that is both."""

    def read(text: str) -> tuple[Any, Any]:
        low, sign, high = text.partition("-")
        return one(low), one(high) if sign else one(low)

    return read


def _is_span(value: object, is_end: Callable[[object], bool], least: float) -> bool:
    if not (isinstance(value, tuple) and len(value) == 2 and all(is_end(end) for end in value)):
        return False
    return bool(least <= value[0] <= value[1])


def _weights(text: str) -> object:
    from .workers.synth import parse_types  # reads tables that the other commands do without

    return parse_types(text)


def _operations(text: str) -> object:
    from .workers.churn import parse_operations

    return parse_operations(text)


def _databases(text: str) -> str | list[int]:
    """`all`, or numbers in the order given."""
    if text == "all":
        return text
    return [units.digits(part.strip(), DATABASES.wanted) for part in text.split(",")]


def _are_databases(value: object) -> bool:
    if value == "all":
        return True
    if not isinstance(value, list) or not value or not all(_is_whole(db) and db >= 0 for db in value):
        return False
    if len(set(value)) < len(value):
        raise ValueError("names a database twice")
    return True


def _renames(text: str) -> dict[int, int]:
    """`0:2,3:1` as {0: 2, 3: 1}: from the source's number to the target's."""
    renames: dict[int, int] = {}
    for part in text.split(","):
        source, sign, target = part.partition(":")
        if not sign:
            raise ValueError(f"must be {RENAMES.wanted}")
        db = units.digits(source.strip(), RENAMES.wanted)
        if db in renames:
            raise ValueError(f"names the source's database {db} twice")
        renames[db] = units.digits(target.strip(), RENAMES.wanted)
    return renames


def _are_renames(value: object) -> bool:
    pairs = value.items() if isinstance(value, dict) else ()
    return bool(pairs) and all(_is_whole(db) and db >= 0 for pair in pairs for db in pair)


def _glob(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text", "from Python, a glob may be bytes") from None


def _is_glob(value: object) -> bool:
    if not isinstance(value, bytes) or not value:
        return False
    if flaw := globs.flaw(value):
        raise ValueError(flaw, "a backslash before a sign makes it stand for itself")
    return True


def _key_types(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _are_key_types(value: object) -> bool:
    if not isinstance(value, list) or not value or not all(map(_is_text, value)):
        return False
    for name in value:
        if name.lower() not in KEY_TYPES and not _MODULE_TYPE.fullmatch(name):
            raise ValueError(f"there is no type {name!r}", f"the types are {', '.join(KEY_TYPES)}")
    return True


ANY_TEXT = Kind("text", str, _is_text)
TEXT = Kind("a text that is not empty", str, _is_name)
PASSWORD = Kind("a password that is not empty", str, lambda value: _is_text(value) and bool(value))


def _mapped(text: str) -> tuple[str, str]:
    """`10.0.0.1:6379=127.0.0.1:7001` as a pair."""
    there, _, here = text.partition("=")
    try:
        for host, port in map(place_of, (there, here)):
            if re.search("[,=]", checked_host(host)) or not 0 < port < 1 << 16:
                raise ValueError
    except ValueError:
        hint = "--remap 10.0.0.1:6379=127.0.0.1:7001"
        raise ValueError("must be an announced HOST:PORT=HOST:PORT", hint) from None
    return there, here


def _slots(text: str) -> list[tuple[int, int]]:
    """`0-99,200` as ranges, from the first to the last slot."""
    found = []
    for part in text.split(","):
        ends = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, -1)
        found.append((first, last))
    return found


def _are_slots(value: object) -> bool:
    """Pairs of numbers; a pair that holds no slot would choose no key, and no key is soon copied and proved."""
    if not isinstance(value, list | tuple) or not value:
        return False
    pairs = [pair for pair in value if isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_whole, pair))]
    return len(pairs) == len(value) and all(0 <= first <= last < 1 << 14 for first, last in pairs)


REMAP = Kind("a pair of HOST:PORT", _mapped, lambda value: isinstance(value, tuple) and len(value) == 2)
SLOTS = Kind("ranges of slots from 0 to 16383, like 0-5460,8000", _slots, _are_slots)
HOST = Kind("a host's name or address", checked_host, _is_text)
PORT = whole(1, 65535)
COUNT = whole(1)
POOL = whole(1, 10_000)
DATABASE = whole(0, 10**9)
TIMEOUT = Kind("above 0 seconds", units.seconds_or_bare, lambda value: _is_time(value) and value > 0)
IDLE = Kind(
    "a duration above 0, like 5s; a bare number is milliseconds",
    units.seconds_or_bare_ms,
    lambda value: _is_time(value) and value > 0,
)
DURATION = Kind("a duration of 0 seconds or more", units.seconds, lambda value: _is_time(value) and value >= 0)
ABOVE_0 = Kind("a duration above 0, like 5ms", units.seconds, lambda value: _is_time(value) and value > 0)
TIME_OR_COMMAND = Kind(
    "a duration above 0, like 5ms", _time_or_command, lambda value: value == "replicate" or ABOVE_0.holds(value)
)
RATE = Kind("whole keys a second, like 20000", _rate, lambda value: _is_whole(value) and value > 0)
BANDWIDTH = Kind("bytes a second, like 10mb or 10m", _bandwidth, lambda value: _is_whole(value) and value > 0)
SAMPLE = Kind("a number of keys, or a share like 1%, at most 100%", _sample, _is_sample)
SHARE = Kind("a share from 0% to 100%", units.share, lambda value: _is_number(value) and 0 <= value <= 1)
SIZE = Kind(
    "a size from 0 bytes to 8,000,000,000gb", units.size, lambda value: _is_whole(value) and 0 <= value < _LARGEST
)
SIZES = Kind("bytes, the smaller first: 10-100", _span(units.size), lambda value: _is_span(value, _is_whole, 0))
COUNTS = Kind("numbers from 1, the smaller first: 1-50", _span(_count), lambda value: _is_span(value, _is_whole, 1))
DURATIONS = Kind(
    "at least 1 ms, the shorter first: 60s-1h", _span(units.seconds), lambda value: _is_span(value, _is_time, 0.001)
)
GLOB = Kind("a glob like user:*", _glob, _is_glob)
TYPES = Kind("types with commas: string,hash", _key_types, _are_key_types)
WEIGHTS = Kind("types with weights", _weights, lambda value: isinstance(value, tuple) and bool(value))
OPERATIONS = Kind("operations, with weights or without", _operations, lambda value: isinstance(value, tuple))
DATABASES = Kind("all, or numbers with commas: 0,3", _databases, _are_databases)
RENAMES = Kind("pairs SOURCE:TARGET with commas: 0:2,3:1", _renames, _are_renames)
