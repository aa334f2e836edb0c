"""Findings of a comparison, kept on disk: two databases that have nothing in common must not fill the memory.

A spool belongs to one pair of databases and one direction. It is written once, read as often as wanted, and gone with
its process: the file has no name.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .partitioners.keys import BATCH_BYTES, BATCH_KEYS
from .workers.errors import RunError
from .workers.finding import UNREADABLE, Finding
from .workers.news import Aside
from .workers.packs import pack, unpack_all
from .workers.task import COPY_KEYS, PRUNE, RECHECK, Scope, Task

#: So many bytes of findings stay in memory before a file takes them.
MEMORY_BYTES = 1 << 20


Pair = tuple[int, int, int]  # node that the keys came from, source database, target database


class Spool:
    """The findings of one Task pattern: see `Findings`."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.at_target = 0  # of these keys are there, as far as the findings tell
        self._file: Any = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
        self._uncounted: set[bytes] = set()

    def __len__(self) -> int:
        return self.kinds.total()

    def add(self, finding: Finding) -> None:
        """Keep a finding. Raises RunError when the disk is full."""
        if not finding.counted:
            # The other range tells of this key as well, unless it was lost between the two.
            self._uncounted.add(finding.key)
            return
        self.kinds[finding.kind] += 1
        self.at_target += finding.target.type != "none"
        with _told():
            self._file.write(pack(finding.pack()))

    def findings(self) -> Iterator[Finding]:
        """All, in the order in which they came. Raises RunError when the disk is full."""
        with _told():
            self._file.flush()
        return map(Finding.unpack, unpack_all(self._file))

    def names(self) -> Iterator[list[bytes]]:
        """The keys to be looked at again, in batches that make a task."""
        batch: list[bytes] = []
        size = 0
        lost = set(self._uncounted)
        for finding in self.findings():
            lost.discard(finding.key)
            batch.append(finding.key)
            size += len(finding.key)
            if len(batch) == BATCH_KEYS or size > BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch or lost:
            yield [*batch, *lost]

    @property
    def to_look_at(self) -> int:
        """About how many keys `names` brings."""
        return len(self) + len(self._uncounted)

    def close(self) -> None:
        """Give the file back."""
        with contextlib.suppress(OSError):  # what a full disk did not take has been told
            self._file.close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Within `with`, findings go to the file: what is buffered may do so late."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write a temporary file: {error.strerror}", hint="see TMPDIR") from None


class Findings:
    """Spools by pair of databases, of each node; a coordinator's `Records`. `targets`: where source databases lead."""

    def __init__(self, targets: Mapping[int, int] | None = None) -> None:
        self.spools: dict[Pair, Spool] = {}
        self.targets = targets or {}

    def add(self, record: Aside | Finding) -> None:
        """Keep a finding; a key that could not even be looked at is one, too."""
        if isinstance(record, Aside):
            node, target_db = self._place_of(record.db)
            record = Finding(record.key, node, record.db, target_db, UNREADABLE, where=record.reason)
        pair = record.node, record.db, record.target_db
        if pair not in self.spools:
            self.spools[pair] = Spool()
        self.spools[pair].add(record)

    def _place_of(self, db: int) -> tuple[int, int]:
        known = ((node, target) for node, source, target in self.spools if source == db)
        return next(known, (0, self.targets.get(db, db)))

    def moved(self, db: int, other: int, target_db: int) -> Findings:
        """The same findings, those of one source database as another's."""
        found = Findings(self.targets)
        for (node, source, target), spool in self.spools.items():
            moves = (source, target) == (db, target_db)
            found.spools[node, other if moves else source, target] = spool
        return found

    def forget(self, scope: Scope) -> None:
        """The database of that node is compared again."""
        for pair in [pair for pair in self.spools if pair[:2] == scope]:
            self.spools.pop(pair).close()

    def at_target(self, target_db: int) -> int:
        """How many keys of these are in a database of the target, as far as the findings tell."""
        return sum(spool.at_target for (*_, target), spool in self.spools.items() if target == target_db)

    @property
    def kinds(self) -> Counter[str]:
        """How many there are of each kind."""
        return sum((spool.kinds for spool in self.spools.values()), Counter[str]())

    def __len__(self) -> int:
        return sum(map(len, self.spools.values()))

    @property
    def to_look_at(self) -> int:
        """About how many keys the spools name."""
        return sum(spool.to_look_at for spool in self.spools.values())

    def __iter__(self) -> Iterator[Finding]:
        for spool in self.spools.values():
            yield from spool.findings()

    def close(self) -> None:
        """Give the files back."""
        for spool in self.spools.values():
            spool.close()


def unknown_to(known: Findings, findings: Findings) -> Iterator[Finding]:
    """The findings but those of unreadable keys that others tell of already. Raises RunError when the disk is full."""
    with contextlib.closing(sqlite3.connect("", isolation_level=None)) as table:  # on disk once it is large
        table.execute("CREATE TABLE names (db INTEGER, key BLOB, PRIMARY KEY (db, key)) WITHOUT ROWID")
        try:
            names = ((one.target_db, one.key) for one in known if one.kind == UNREADABLE)
            table.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", names)
        except sqlite3.Error as error:
            raise RunError(f"cannot use a temporary file: {error}", hint="see TMPDIR") from None
        told = "SELECT 1 FROM names WHERE db = ? AND key = ?"
        for one in findings:
            if one.kind != UNREADABLE or table.execute(told, (one.target_db, one.key)).fetchone() is None:
                yield one


class SpooledNames:
    """The names in a spool, as a supply wants them."""

    def __init__(self, spool: Spool) -> None:
        self._batches = spool.names()

    def batch(self) -> list[bytes] | None:
        """The next names; None at the end."""
        return next(self._batches, None)


def pattern(work: str, pair: Pair) -> Task:
    """The task that a batch of names of a pair becomes."""
    node, db, target_db = pair
    node = 0 if work in (RECHECK, PRUNE) else node  # they came from a node of the target
    return Task(0, COPY_KEYS, node=node, db=db, target_db=target_db, sifted=True, work=work)
