"""Comparisons element by element: a module a type. `differs(key, times)` tells where two keys of a type differ first.

What does not count as a difference is what no client can see: encodings, the order of tables, that a figure is cached.
"""

from __future__ import annotations

from collections.abc import Callable

from . import hash, list, module, set, stream, string, topk, vectorset, zset
from .ask import Steps, Times

Differs = Callable[[bytes, Times], Steps[str]]

_DIFFERS: dict[str, Differs] = {
    "string": string.differs,
    "list": list.differs,
    "set": set.differs,
    "hash": hash.differs,
    "zset": zset.differs,
    "stream": stream.differs,
    "vectorset": vectorset.differs,
    "ReJSON-RL": module.json_differs,
    "TopK-TYPE": topk.differs,
}

#: The command that tells how large a value is: bytes of a string, elements of a collection.
SIZE = {
    "string": b"STRLEN",
    "list": b"LLEN",
    "set": b"SCARD",
    "hash": b"HLEN",
    "zset": b"ZCARD",
    "stream": b"XLEN",
    "vectorset": b"VCARD",
}


def differs(type: str) -> Differs:
    """The comparison for a type, as TYPE names it; types of modules that we do not know are compared by DUMP."""
    return _DIFFERS.get(type, module.differs)
