"""TopK of RedisBloom: by what its payload holds, without the addresses at which the server keeps the items.

The values of a payload (`payload.py`) are k, width, depth, decay, the sketch, its heap of k buckets, and the items of
the heap:

    bucket   4 bytes fingerprint · 4 bytes length of the item · 8 bytes address of the item · 4 bytes count · 4 unused

Addresses differ from server to server, and from one RESTORE to the next.
"""

from __future__ import annotations

import struct
from typing import Any

from .ask import Steps, Times, pair, unequal_at
from .payload import body_of, values_of

_BUCKET = struct.Struct("<II8xI4x")
_K, _HEAP = 1, 6  # where they are among the values, behind the id


def differs(key: bytes, times: Times) -> Steps[str]:
    """The first value of the payload that differs, or ''."""
    ours, theirs = yield from pair([(b"DUMP", key)], lambda replies: without_addresses(body_of(replies[0])))
    return f"payload value {unequal_at(ours, theirs)}" if ours != theirs else ""


def without_addresses(body: bytes) -> list[Any]:
    """What a payload holds, with the heap as a list of buckets; the payload itself where it is not as we know it."""
    values: list[Any] | None = values_of(body)
    try:
        if values is None or len(values[_HEAP][1]) != values[_K][1] * _BUCKET.size:
            return [body]
        values[_HEAP] = list(_BUCKET.iter_unpack(values[_HEAP][1]))
    except (IndexError, TypeError, struct.error):
        return [body]
    return values
