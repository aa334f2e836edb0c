"""A batch: what is written together, by column, so that the hot path has no object and no call a key.

Keys that never expire are columns, for they are written by one command or by equal ones. Keys with an expiry are
rows apart, each with the instant at which it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress, repeat

from .expiry import FOREVER, NEVER, Expiries
from .resp import argument_value

Row = tuple[bytes, bytes, int]  # the key as an encoded argument, its value or DUMP payload, its instant


@dataclass
class Batch:
    """`keys` (encoded arguments) and their `values` never expire; `expiring` are rows that do."""

    keys: Sequence[bytes]
    values: Sequence[bytes]
    expiring: list[Row]

    def __len__(self) -> int:
        return len(self.keys) + len(self.expiring)

    def all_values(self) -> list[bytes]:
        """Every value, whatever its expiry."""
        return [*self.values, *(value for _, value, _ in self.expiring)]

    def in_order(self) -> list[Row]:
        """All keys with what is written of them, as they stand in a request that has a command for each."""
        return [*self.expiring, *zip(self.keys, self.values, repeat(NEVER))]

    def by_node(self, node_of: Callable[[bytes], int]) -> dict[int, Batch]:
        """The batch in parts, by the node that `node_of` says each key belongs to."""
        parts: dict[int, Batch] = {}
        for key, value in zip(self.keys, self.values):
            part = parts.setdefault(node_of(argument_value(key)), Batch([], [], []))
            part.keys.append(key)  # type: ignore[attr-defined]
            part.values.append(value)  # type: ignore[attr-defined]
        for row in self.expiring:
            parts.setdefault(node_of(argument_value(row[0])), Batch([], [], [])).expiring.append(row)
        return parts


def batch_of(keys: Sequence[bytes], values: Sequence[bytes], expiries: Expiries) -> Batch:
    """The batch of keys that were read; those that are gone are left out. Raises TypeError for an error reply."""
    replies = expiries.replies
    lasting = [reply == FOREVER for reply in replies]
    if all(lasting):
        return Batch(keys, values, [])
    floor, add = expiries.floor, expiries.add
    expiring = [(key, value, reply + add) for key, value, reply in zip(keys, values, replies) if reply > floor]
    return Batch(list(compress(keys, lasting)), list(compress(values, lasting)), expiring)


def single(row: Row) -> Batch:
    """The batch of one key."""
    key, value, instant = row
    return Batch([key], [value], []) if instant == NEVER else Batch([], [], [row])
