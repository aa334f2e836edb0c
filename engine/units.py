"""Numbers with units, as users type them: texts carry units, values do not.

Durations become float seconds, sizes whole bytes, shares fractions of 1. A text that is none raises
ValueError(message[, hint]).
"""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
#: As redis.conf has them: 1k is 1000 bytes, 1kb is 1024.
_BYTES = {"": 1, "b": 1, "k": 10**3, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}
_DIGITS_MAX = 15  # more digits than any value needs; bounds the work on absurd input


def digits(text: str, wanted: str) -> int:
    """A whole number, which has no unit; `wanted` is what it must be, in words."""
    if not re.fullmatch(r"-?[0-9]+", text):
        raise ValueError(f"must be {wanted}")
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"has more than {_DIGITS_MAX} digits")
    return int(text)


def seconds(text: str) -> float:
    """A duration with its unit, as seconds."""
    found = re.fullmatch(rf"([0-9]{{1,{_DIGITS_MAX}}}(?:\.[0-9]{{1,{_DIGITS_MAX}}})?)(ms|s|m|h)?", text)
    if not found:
        raise ValueError("must be a duration like 250ms, 5s, 10m or 2h")
    number, unit = found.groups()
    if not unit:
        raise ValueError("the unit is missing", f"{number}s is seconds, {number}ms is milliseconds")
    return float(number) * _SECONDS[unit]


def seconds_or_bare(text: str) -> float:
    """The same, or a bare number, which is seconds."""
    return seconds(text + "s" if re.fullmatch(r"[0-9.]+", text) else text)


def seconds_or_bare_ms(text: str) -> float:
    """The same, or a bare number, which is milliseconds."""
    return seconds(text + "ms" if re.fullmatch(r"[0-9.]+", text) else text)


def size(text: str) -> int:
    """A size as redis.conf writes it, as bytes."""
    found = re.fullmatch(rf"([0-9]{{1,{_DIGITS_MAX}}})([a-z]*)", text.lower())
    if not found or found[2] not in _BYTES:
        raise ValueError("must be a size like 100, 1k (1000), 1kb (1024), 1m or 1mb")
    return int(found[1]) * _BYTES[found[2]]


def share(text: str) -> float:
    """A percentage as a fraction of 1."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)(%?)", text)
    if not found:
        raise ValueError("must be a share like 25%")
    number, unit = found.groups()
    if not unit:
        raise ValueError("the unit is missing", f"{number}% is {number} of 100 keys; all keys are 100%")
    return float(number) / 100
