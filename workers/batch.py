"""A batch: what is written together, by column, so that the hot path has no object and no call a key.

Keys that never expire are columns, for they are written by one command or by equal ones. Keys with an expiry are
rows apart, each with the instant at which it ends. Where slots matter, both come in the order of their slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress, repeat
from operator import add, eq, gt

from .expiry import FOREVER, NEVER, Expiries
from .resp import argument_value
from .slots import slot_of, slots_of

Row = tuple[bytes, bytes, int]  # the key as an encoded argument, its value or DUMP payload, its instant


@dataclass
class Batch:
    """`keys` (encoded arguments) and their `values` never expire; `expiring` are rows that do.

    `slots` and `row_slots` are those of the keys and of the rows; None where they do not matter, or are not known. They
    are sorted where they are `shared`: where several keys of a slot may be written together.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    expiring: list[Row]
    slots: Sequence[int] | None = None
    row_slots: Sequence[int] = ()
    shared: bool = True

    def __len__(self) -> int:
        return len(self.keys) + len(self.expiring)

    def all_values(self) -> list[bytes]:
        """Every value, whatever its expiry."""
        return [*self.values, *(value for _, value, _ in self.expiring)]

    def with_slots(self) -> Batch:
        """The same, with the slots of its keys."""
        rows = [key for key, _, _ in self.expiring]
        slots, row_slots = (slots_of(list(map(argument_value, keys))) for keys in (self.keys, rows))
        return replace(self, slots=slots, row_slots=row_slots)

    def in_order(self) -> list[Row]:
        """All keys with what is written of them, as they stand in a request that has a command for each."""
        return [*self.expiring, *zip(self.keys, self.values, repeat(NEVER))]

    def cut(self, begin: int, end: int) -> Batch:
        """Those of the keys without expiry, with their slots."""
        assert self.slots is not None
        return Batch(self.keys[begin:end], self.values[begin:end], [], self.slots[begin:end])

    def pick(self, places: Sequence[int], rows: Sequence[int]) -> Batch:
        """Those of the keys without expiry, and of the rows, that stand at these places."""
        keys, values = self.keys, self.values
        picked = Batch([keys[at] for at in places], [values[at] for at in places], [self.expiring[at] for at in rows])
        if self.slots is not None:
            picked.slots = [self.slots[at] for at in places]
        picked.shared = self.shared
        return picked

    def add(self, other: Batch) -> None:
        """Append another batch, whose slots come after these."""
        assert self.slots is not None and other.slots is not None
        self.keys, self.values = [*self.keys, *other.keys], [*self.values, *other.values]
        self.slots = [*self.slots, *other.slots]


def batch_of(
    keys: Sequence[bytes],
    values: Sequence[bytes],
    expiries: Expiries,
    slots: Sequence[int] | None = None,
    shared: bool = True,
) -> Batch:
    """The batch of keys that were read; those that are gone are left out. Raises TypeError for an error reply."""
    replies = expiries.replies
    if replies.count(FOREVER) == len(replies):
        return Batch(keys, values, [], slots, shared=shared)
    lasting = list(map(eq, replies, repeat(FOREVER)))
    ending = list(map(gt, replies, repeat(expiries.floor)))
    instants = map(add, compress(replies, ending), repeat(expiries.add))
    expiring = list(zip(compress(keys, ending), compress(values, ending), instants))
    batch = Batch(list(compress(keys, lasting)), list(compress(values, lasting)), expiring, shared=shared)
    if slots is not None:
        batch.slots, batch.row_slots = list(compress(slots, lasting)), list(compress(slots, ending))
    return batch


def single(row: Row) -> Batch:
    """The batch of one key."""
    key, value, instant = row
    slots = [slot_of(argument_value(key))]
    return Batch([key], [value], [], slots) if instant == NEVER else Batch([], [], [row], [], slots)
