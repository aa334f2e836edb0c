"""A file that is read more than once by one run, and has to say the same each time.

WHAT HAPPENS IF it is replaced or removed meanwhile: it stays open, so what was opened is read again. IF somebody writes
over it: each piece has a checksum of its first reading, and one that has another now ends the run. IF somebody appends
to it: that is read as long as the end was not reached, and never after it.
"""

from __future__ import annotations

import os
from zlib import crc32

PIECE_BYTES = 1 << 16


class Changed(Exception):
    """A piece is not what it was."""


class Pieces:
    """The pieces of a regular file, from where its descriptor stands; each may be read as often as wanted."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._end = os.lseek(fd, 0, os.SEEK_CUR)  # of the pieces that are known
        self._known: list[tuple[int, int, int]] = []  # where each begins, its bytes, their checksum
        self._whole = False

    def read(self, number: int) -> bytes:
        """A piece, or the next one that was never read; b'' at the end. Raises Changed and OSError."""
        if number == len(self._known):
            return b"" if self._whole else self._next()
        begin, size, checksum = self._known[number]
        data = os.pread(self._fd, size, begin)
        if crc32(data) != checksum:
            raise Changed
        return data

    def end_here(self) -> None:
        """What was not read until now is none of this file."""
        self._whole = True

    def _next(self) -> bytes:
        data = os.pread(self._fd, PIECE_BYTES, self._end)
        if data:
            self._known.append((self._end, len(data), crc32(data)))
        self._end += len(data)
        self._whole = not data
        return data
