"""Keys that a live copy could not copy so far: each once, until a later copy of it succeeds.

They may be very many: a target that is older takes no list, say, of a newer source. So they are in a table of SQLite
without a name: it stays in memory while it is small, then goes into a temporary file, and is gone with the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .workers.errors import RunError
from .workers.news import Aside

_TABLE = "CREATE TABLE asides (key BLOB, db INTEGER, type TEXT, size INTEGER, reason TEXT, PRIMARY KEY (db, key))"


class Asides:
    """Those of one pass, by database and key. Raises RunError where the disk is full."""

    def __init__(self) -> None:
        self._table: sqlite3.Connection | None = None  # made for the first key: most copies have none

    def put(self, aside: Aside) -> None:
        """Keep a key, in the place of what was known of it."""
        with _told():
            if self._table is None:
                self._table = sqlite3.connect("", isolation_level=None)
                self._table.execute("PRAGMA journal_mode = OFF")
                self._table.execute(f"{_TABLE} WITHOUT ROWID")
            self._table.execute("INSERT OR REPLACE INTO asides VALUES (?, ?, ?, ?, ?)", aside.pack())

    def take_out(self, db: int, keys: Iterable[bytes]) -> None:
        """These were copied, or are gone."""
        if self._table:
            with _told():
                self._table.executemany("DELETE FROM asides WHERE db = ? AND key = ?", [(db, key) for key in keys])

    def has(self, db: int, key: bytes) -> bool:
        """Whether a key is among them."""
        found = "SELECT 1 FROM asides WHERE db = ? AND key = ?"
        return self._table is not None and self._table.execute(found, (db, key)).fetchone() is not None

    def __iter__(self) -> Iterator[Aside]:
        if self._table:
            with _told():
                yield from (Aside(*row) for row in self._table.execute("SELECT * FROM asides"))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise RunError(f"cannot use a temporary file: {error}", hint="see TMPDIR") from None
