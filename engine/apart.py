"""The keys of a range by name, over the control connection: for a range that kills the workers that copy it."""

from __future__ import annotations

from .partitioners.control import Control, ReplyError
from .workers.cursor import RING, cursor_at, position_of
from .workers.task import Task

#: COUNT of one SCAN.
KEYS_A_SCAN = 500


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
