"""Objects one after the other in a file, as msgpack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import msgpack

#: So many bytes are read at a time.
READ_BYTES = 1 << 18
#: Of one object; msgpack itself would take 100 MB, and names of keys may have 512.
MOST_BYTES = 2**32 - 1


def pack(thing: Any) -> bytes:
    """An object as it stands in the file."""
    return msgpack.packb(thing)


def unpack_all(file: IO[bytes]) -> Iterator[Any]:
    """All objects of a file that is open for reading, from its beginning."""
    file.seek(0)
    unpacker = msgpack.Unpacker(max_buffer_size=MOST_BYTES)
    while data := file.read(READ_BYTES):
        unpacker.feed(data)
        yield from unpacker
