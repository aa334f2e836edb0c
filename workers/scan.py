"""The key reader: steps through one range of the ring by SCAN, and checks on each reply that it is a ring.

HOW COUNTS STAY EXACT
    The last reply of a range may reach past its end, and a small table's bucket may lie across it. Those keys come
    again as the first keys of the next range. So before that last reply is passed on, the range asks once more
    from its own end on, just as the next range does, and marks what came twice as `elsewhere`: it is copied here
    too (the table may change before the next range gets there), but counted only there. COUNT shrinks towards the
    end of a range, so that this concerns a few keys a range.

    Where cursors go by slot, and a range ends with a slot, no second look is needed: the slot of a key tells whether it
    lies beyond.

WHAT HAPPENS IF the server filters (MATCH, TYPE)
    It reads as many keys as COUNT says, and brings those that pass. Cursors, COUNT and the border stay as they are.
    Only how many keys an arc holds cannot be told from a reply; but a step never covers many more than were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .cursor import RING, cursor_at, expected_keys, position_of, position_of_slot, slot_at
from .replies import Way
from .resp import command
from .slots import slot_of, slots_of
from .task import Task

if TYPE_CHECKING:
    from .link import Link

#: A server reads whole buckets; hardly one holds more keys than this, also where a table is not allowed to grow.
BUCKET_KEYS = 64
#: The cursor by which a server says that there is no more; so it begins, too.
END = b"0"


@dataclass(frozen=True)
class Found:
    """Keys of one reply; what lies below `position` has been seen when they, and all before them, are done.

    `elsewhere`: these come again in the next range, and are counted there. `part`: the rest of the reply follows.
    """

    keys: list[bytes]
    position: int
    elsewhere: bool = False
    part: bool = False


class RangeScan:
    """Calls found(Found) for each reply to `ask`, until `done`; or opaque(why) where cursors are no positions."""

    def __init__(
        self,
        link: Link,
        task: Task,
        count: int,
        found: Callable[[Found], None],
        opaque: Callable[[str], None],
        filter_words: Sequence[bytes] = (),
    ) -> None:
        self.link, self.task, self.count, self.filter_words = link, task, count, filter_words
        self.found, self.opaque = found, opaque
        self.position = task.start
        #: As servers tell it: those whose cursors are no positions may have anything for one, until it is 0 again.
        self.cursor = self._cursor_at(task.start) if task.start < RING else END
        self.db_keys = task.db_keys
        self.done = task.start >= task.end
        self.asking = False

    def ask(self) -> None:
        """Ask for the next step."""
        self.asking = True
        whole_slots = self.task.by_slot and self._ends_with_a_slot
        tapers = self.task.checked and not whole_slots  # what lies beyond the end of a slot costs nothing but its name
        count = self._count_until(self.task.end, self.position) if tapers else self.count
        self._scan(self.cursor, count, lambda cursor, keys: self._stepped(cursor, keys, count))

    def _request(self, cursor: bytes, count: int) -> bytes:
        return command(b"SCAN", cursor, b"COUNT", b"%d" % count, *self.filter_words)

    def _scan(self, cursor: bytes, count: int, then: Callable[[bytes, list[bytes]], None]) -> None:
        # Marked as the windows between scans are, or it would keep their replies from being taken together.
        again = partial(self._scan, cursor, count, then)
        self.link.reader.ask(self._request(cursor, count), 1, partial(self._answered, again, then), Way.MARKED)

    def _answered(self, again: Callable[[], None], then: Callable[[bytes, list[bytes]], None], replies: list) -> None:
        reply = replies[0]
        if isinstance(reply, Exception):
            self.link.trouble("source", 0, reply, again)
        elif self.task.checked and not reply[0].isdigit():
            self.opaque("cursors are no numbers")
        else:
            then(*reply)

    def _count_until(self, end: int, position: int) -> int:
        return max(1, min(self.count, int(expected_keys(position, end, self.db_keys)) + 1))

    # ---- what came ------------------------------------------------------------------------------------------

    def _stepped(self, cursor: bytes, keys: list[bytes], count: int, sized: bool = False) -> None:
        """`sized`: how many keys the database has was asked together with this step."""
        if not self.task.checked:
            self.cursor = cursor
            return self._pass_on(Found(keys, RING if cursor == END else self.task.start), done=cursor == END)
        reached, step = self._position_of(cursor), f"{self._cursor_at(self.position).decode()} to {cursor.decode()}"
        if reached <= self.position:
            return self.opaque(f"SCAN went back from {step}")
        if self.task.by_slot:
            if not self._in_slots(keys, reached):
                return self.opaque(f"SCAN from {step} brought a key of elsewhere")
        elif self._is_jump(reached, len(keys), count):
            if sized:
                return self.opaque(f"SCAN from {step} brought {len(keys)} keys")
            return self._look_again(count)
        self._step_to(cursor, reached, keys)

    def _step_to(self, cursor: bytes, reached: int, keys: list[bytes]) -> None:
        self.cursor, self.position = cursor, reached
        end = self.task.end
        if reached > end and self.task.by_slot:
            beyond = slot_at(end - 1) + 1
            keys = [key for key, slot in zip(keys, slots_of(keys)) if slot < beyond]
            reached = min(reached, position_of_slot(beyond))
        if reached > end and keys:
            self._settle_overlap(keys, reached)
        else:
            self._pass_on(Found(keys, min(reached, end)), done=reached >= end)

    def _pass_on(self, found: Found, done: bool) -> None:
        self.asking = False
        self.done = done
        self.found(found)

    @property
    def _ends_with_a_slot(self) -> bool:
        return self.task.end == position_of_slot(slot_at(self.task.end - 1) + 1)

    def _cursor_at(self, position: int) -> bytes:
        return b"%d" % cursor_at(position, self.task.by_slot)

    def _position_of(self, cursor: bytes) -> int:
        return position_of(int(cursor), self.task.by_slot)

    def _in_slots(self, keys: list[bytes], reached: int) -> bool:
        """Whether the first and the last key lie where a scan by slots has been: it brings keys slot by slot."""
        first, last = slot_at(self.position), slot_at(reached - 1)
        return not keys or first <= slot_of(keys[0]) <= slot_of(keys[-1]) <= last

    # ---- is it a ring? --------------------------------------------------------------------------------------

    def _is_jump(self, reached: int, returned: int, count: int) -> bool:
        """A reply that covers an arc which should hold far more keys than it brought: no ring does that."""
        if self.filter_words:
            returned = count + BUCKET_KEYS  # what the step has read, at most
        return expected_keys(self.position, reached, self.db_keys) > 4 * returned + 8 * count

    def _look_again(self, count: int) -> None:
        """The arc looks empty; unless the database has fewer keys at the moment of this very step, this is no ring."""

        def answered(replies: list) -> None:
            reply, size = replies
            if isinstance(reply, Exception):
                return self.link.trouble("source", 0, reply, lambda: self._look_again(count))
            if isinstance(size, int):
                self.db_keys = size
            cursor, keys = reply
            self._stepped(cursor, keys, count, sized=True)

        self.link.reader.ask(self._request(self.cursor, count) + command(b"DBSIZE"), 2, answered, Way.MARKED)

    # ---- the border -----------------------------------------------------------------------------------------

    def _settle_overlap(self, keys: list[bytes], reached: int) -> None:
        """Read what the next range begins with, up to `reached`; those keys are counted there."""
        beyond: set[bytes] = set()

        def read_on(position: int) -> None:
            count = self._count_until(reached, position)
            self._scan(self._cursor_at(position), count, came)

        def came(cursor: bytes, more: list[bytes]) -> None:
            beyond.update(more)
            if (position := self._position_of(cursor)) < reached:
                return read_on(position)
            twice = beyond.intersection(keys)
            if not twice:
                return self._pass_on(Found(keys, self.task.end), done=True)
            once = [key for key in keys if key not in twice]
            self.asking, self.done = False, True
            self.found(Found(once, self.task.end, part=True))
            self.found(Found(list(twice), self.task.end, elsewhere=True))

        read_on(self.task.end)
