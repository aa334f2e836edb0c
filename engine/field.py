"""What a live copy is about: databases and their nodes, and the tasks that go over all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .workers.slots import slots_of
from .workers.task import Scope, Task


@dataclass
class Field:
    """`tasks` and `lookups` are made anew whenever they are asked for."""

    targets: dict[int, int]  # source db -> target db
    scopes: list[Scope]  # all databases of all source nodes
    owners: list[int] | None  # the source node of each slot; None where the source is no cluster
    tasks: Callable[[], list[Task]]  # that copy everything
    lookups: Callable[[], list[Task]]  # that find what the target has too much
    named: Callable[[list[bytes]], list[bytes]]  # those of the names that are in scope
    streams: bool  # streams are in scope
    vectors: bool = False  # vector sets are, and the feed does not tell of them

    @property
    def silent_types(self) -> list[str]:
        """The types of keys that may change without an event."""
        return ["stream"] * self.streams + ["vectorset"] * self.vectors

    def by_node(self, keys: list[bytes]) -> list[tuple[int, list[bytes]]]:
        """Names by the source node that owns them."""
        if self.owners is None:
            return [(0, keys)]
        found: dict[int, list[bytes]] = {}
        for key, slot in zip(keys, slots_of(keys)):
            found.setdefault(self.owners[slot], []).append(key)
        return list(found.items())
