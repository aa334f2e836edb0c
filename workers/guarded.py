"""A window that replaces nothing: what exists at the target stays as it is (see `conflict.py`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

from .batch import Batch
from .news import Counts
from .read import Method
from .resp import OK, argument_value
from .window import Window

if TYPE_CHECKING:
    from .link import Link


class Guarded(Window):
    """As Window, for a link that keeps what exists. What it has written it does not write again.

    Without that, each key written by the first try would stand in the way of the second one.
    """

    def __init__(self, link: Link, keys: list[bytes], method: Method, settled: Callable[[Window], None]) -> None:
        super().__init__(link, keys, method, partial(_settle, settled))
        self._written_bytes: dict[bytes, int] = {}  # by key, since the last start
        self.before = Counts()  # of earlier tries

    def _acknowledged(self, node: int, batch: Batch) -> Callable[[list], None]:
        return partial(self._note_written, node, batch)

    def _note_written(self, node: int, batch: Batch, replies: list) -> None:
        done = [reply == OK for reply in replies]
        rows = compress(batch.in_order(), done)
        self._written_bytes.update((argument_value(key), len(value)) for key, value, _ in rows)
        self._written(node, replies)

    def again(self) -> None:
        """Do the rest of the window again."""
        self._leave_out_what_is_written()
        super().again()

    def careful(self) -> None:
        """Do the rest of the window again, key by key."""
        self._leave_out_what_is_written()
        super().careful()

    def _leave_out_what_is_written(self) -> None:
        written = self._written_bytes
        self.before.add(Counts(copied=len(written), bytes=sum(written.values())))
        self.keys = [key for key in self.keys if key not in written]
        self._written_bytes = {}


def _settle(report: Callable[[Window], None], window: Window) -> None:
    """Tell of all tries. It is no method: a window that refers to itself would stay in memory for a while."""
    assert isinstance(window, Guarded)
    window.counts.add(window.before)
    report(window)
