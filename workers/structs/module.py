"""Values of modules, and of types that we do not know: by what DUMP returns, without its footer. JSON as JSON."""

from __future__ import annotations

import json
from typing import Any

from .ask import Steps, Times, first, pair, unequal_at

#: At the end of a payload: the version of its format, and a checksum.
FOOTER_BYTES = 10


def _body(replies: list[Any]) -> bytes:
    return (replies[0] or b"")[:-FOOTER_BYTES]


def differs(key: bytes, times: Times) -> Steps[str]:
    """The first byte of the payload that differs, or ''."""
    ours, theirs = yield from pair([(b"DUMP", key)], _body)
    return f"payload byte {unequal_at(ours, theirs)}" if ours != theirs else ""


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
