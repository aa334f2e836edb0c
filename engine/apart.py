"""A task that kills its workers, taken apart: a range by halves, in the end by the names of its keys."""

from __future__ import annotations

from dataclasses import replace

from .ledger import Entry, Ledger, small_enough_to_list
from .partitioners.control import Control, ReplyError
from .workers.cursor import RING, cursor_at, position_of
from .workers.task import COPY_KEYS, COPY_RANGE, Task

#: COUNT of one SCAN.
KEYS_A_SCAN = 500


def take_apart(entry: Entry, ledger: Ledger, control: Control | None, words: list[bytes]) -> bool:
    """Put the parts of a task into the ledger in its place; False where it is one key, which has no parts.

    `words` is what SCAN is told besides cursor and COUNT, over the control connection. Raises AccessError.
    """
    task = entry.task
    if task.kind == COPY_RANGE and small_enough_to_list(task):
        assert control is not None  # ranges are of a source
        own, twice = keys_of(control, task, words)
        ledger.split(entry, own)
        if twice:
            ledger.put_off.append(replace(task, kind=COPY_KEYS, keys=twice, counted=False))
    elif len(task.keys) != 1:
        ledger.split(entry, task.keys or None)
    else:
        return False
    return True


def keys_of(control: Control, task: Task, words: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The keys of a range, and those among its last ones that the next range counts (`workers.scan`).

    `words` is what SCAN is told besides cursor and COUNT. Raises AccessError.
    """
    control.select(task.scanned_db)
    keys, reached = _scan(control, task, task.start, task.end if task.checked else RING, words)
    if not task.checked or reached <= task.end:
        return keys, []
    beyond = set(_scan(control, task, task.end, reached, words)[0])
    return [key for key in keys if key not in beyond], [key for key in keys if key in beyond]


def _scan(control: Control, task: Task, start: int, end: int, words: list[bytes]) -> tuple[list[bytes], int]:
    """The keys from one position to another, and the position reached."""
    keys: dict[bytes, None] = {}
    cursor = cursor_at(start, task.by_slot)
    while True:
        reply = control.call("SCAN", cursor, "COUNT", KEYS_A_SCAN, *words)
        if isinstance(reply, ReplyError):
            raise control.refused("SCAN", reply)
        cursor = int(reply[0])
        keys.update(dict.fromkeys(reply[1]))
        reached = position_of(cursor, task.by_slot)
        if cursor == 0 or (end < RING and reached >= end):
            return list(keys), reached
