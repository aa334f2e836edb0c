"""A batch: what is written together, by column, so that the hot path has no object and no call a key.

Keys that never expire are apart from those that do: they are written by one command or by equal ones, the others each
with the instant at which it ends. Where slots matter, both come in the order of their slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress, repeat

from .expiry import FOREVER, NEVER, Expiries, moved
from .resp import argument_value
from .slots import slots_of

Row = tuple[bytes, bytes, int]  # the key as an encoded argument, its value or DUMP payload, its instant


@dataclass
class Columns:
    """Keys as encoded arguments, the value or DUMP payload of each, and where these matter its slot and its instant."""

    keys: Sequence[bytes] = ()
    values: Sequence[bytes] = ()
    slots: Sequence[int] = ()
    instants: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def with_slots(self) -> Columns:
        """The same, with the slots of the keys."""
        return replace(self, slots=slots_of(list(map(argument_value, self.keys))))

    def cut(self, begin: int, end: int) -> Columns:
        """Those from one place to before another."""
        return Columns(self.keys[begin:end], self.values[begin:end], self.slots[begin:end], self.instants[begin:end])

    def pick(self, places: Sequence[int]) -> Columns:
        """Those that stand at these places."""
        keys, values = [self.keys[at] for at in places], [self.values[at] for at in places]
        instants = [self.instants[at] for at in places] if self.instants else ()
        return Columns(keys, values, [self.slots[at] for at in places], instants)

    def only(self, wanted: Sequence[bool]) -> Columns:
        """Some of them."""
        keys, values = list(compress(self.keys, wanted)), list(compress(self.values, wanted))
        return Columns(keys, values, list(compress(self.slots, wanted)), list(compress(self.instants, wanted)))

    def add(self, other: Columns) -> None:
        """Append others, whose slots come after these."""
        self.keys, self.values = [*self.keys, *other.keys], [*self.values, *other.values]
        self.slots, self.instants = [*self.slots, *other.slots], [*self.instants, *other.instants]


@dataclass
class Batch:
    """Keys that never expire, without instants, and keys that do.

    Their slots are there if it is `slotted`. They are sorted where they are `shared`: where several keys of a slot may
    be written together.
    """

    lasting: Columns
    expiring: Columns
    slotted: bool = False
    shared: bool = True

    def __len__(self) -> int:
        return len(self.lasting) + len(self.expiring)

    def all_values(self) -> list[bytes]:
        """Every value, whatever its expiry."""
        return [*self.lasting.values, *self.expiring.values]

    def with_slots(self) -> Batch:
        """The same, with the slots of its keys."""
        return Batch(self.lasting.with_slots(), self.expiring.with_slots(), slotted=True, shared=self.shared)

    def in_order(self) -> list[Row]:
        """All keys with what is written of them, as they stand in a request that has a command for each."""
        ending, lasting = self.expiring, self.lasting
        rows = zip(ending.keys, ending.values, ending.instants)
        return [*rows, *zip(lasting.keys, lasting.values, repeat(NEVER))]


def batch_of(
    keys: Sequence[bytes],
    values: Sequence[bytes],
    expiries: Expiries,
    slots: Sequence[int] | None = None,
    shared: bool = True,
) -> Batch:
    """The batch of keys that were read; those that are gone are left out. Raises TypeError for an error reply."""
    replies, floor, add = expiries.replies, expiries.floor, expiries.add
    all_keys, slotted = Columns(keys, values, slots or ()), slots is not None
    if replies.count(FOREVER) == len(replies):
        return Batch(all_keys, Columns(), slotted, shared)
    ending = [reply > floor for reply in replies]
    expiring = all_keys.only(ending)
    expiring.instants = moved(compress(replies, ending), add)
    return Batch(all_keys.only([reply == FOREVER for reply in replies]), expiring, slotted, shared)


def single(row: Row) -> Batch:
    """The batch of one key."""
    key, value, instant = row
    if instant == NEVER:
        return Batch(Columns([key], [value]), Columns())
    return Batch(Columns(), Columns([key], [value], instants=[instant]))
