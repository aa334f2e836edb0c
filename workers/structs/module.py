"""Values of modules, and of types that we do not know: by the payload of DUMP, or what it holds. JSON as JSON."""

from __future__ import annotations

import json
from typing import Any

from .ask import Steps, Times, first, pair, unequal_at
from .payload import body_of, values_of


def differs(key: bytes, times: Times) -> Steps[str]:
    """The first byte of the payload that differs, or ''; other bytes for the same values are no difference."""
    ours, theirs = yield from pair([(b"DUMP", key)], lambda replies: body_of(replies[0]))
    if ours == theirs:
        return ""
    values = values_of(ours)
    same = values is not None and values == values_of(theirs)
    return "" if same else f"payload byte {unequal_at(ours, theirs)}"


def json_differs(key: bytes, times: Times) -> Steps[str]:
    """Where two documents differ, or ''. The order of an object's members does not count."""
    ours, theirs = yield from pair([(b"JSON.GET", key, b".")], first)
    if ours == theirs:
        return ""
    return _path("$", json.loads(ours or b"null"), json.loads(theirs or b"null"))


def _path(path: str, one: Any, other: Any) -> str:
    """The first place at which two JSON values differ, or ''. 1, 1.0 and true are three values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            if name not in one or name not in other:
                return f"{path}.{name}"
            if found := _path(f"{path}.{name}", one[name], other[name]):
                return found
        return ""
    if isinstance(one, list) and isinstance(other, list):
        for index, pair_of in enumerate(zip(one, other)):
            if found := _path(f"{path}[{index}]", *pair_of):
                return found
        return "" if len(one) == len(other) else f"{path}[{min(len(one), len(other))}]"
    return "" if type(one) is type(other) and one == other else path
