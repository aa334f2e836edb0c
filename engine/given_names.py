"""The names that a copy with --limit has given out, kept on disk: its verification looks at just these keys.

To count them out once more would bring others: where keys were skipped as they exist, where some have expired since, or
where the source is written to.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

from .partitioners.keys import KeptNames
from .workers.errors import RunError
from .workers.packs import pack
from .workers.task import COPY_KEYS, Task

#: So many bytes of names stay in memory before a file takes them.
MEMORY_BYTES = 1 << 20

Place = tuple[int, int, int, bool]  # node, database at the source and at the target; whether nobody has filtered them


class GivenNames:
    """By database, of each node, and by what they have been through. Raises RunError when the disk is full."""

    def __init__(self) -> None:
        self._files: dict[Place, Any] = {}

    def add(self, task: Task) -> None:
        """Keep the names of a task."""
        # Keys of moved slots, if they have not been sifted, are filtered by who reads them: so they are again.
        place = task.node, task.db, task.target_db, task.raw and not task.sifted
        if place not in self._files:
            self._files[place] = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
        try:
            self._files[place].write(pack(task.keys))
        except OSError as error:
            raise RunError(f"cannot write a temporary file: {error.strerror}", hint="see TMPDIR") from None

    def again(self, work: str) -> list[tuple[Task, KeptNames]]:
        """For each database the pattern of tasks with this work, and the names."""
        return [
            (Task(0, COPY_KEYS, node, db, target_db, sifted=not raw, raw=raw, work=work), KeptNames(file))
            for (node, db, target_db, raw), file in self._files.items()
        ]

    def close(self) -> None:
        """Give the files back."""
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what a full disk did not take has been told
                file.close()
