"""Keys that change without an event: streams and vector sets, listed by type and copied again at the cut-over.

What is told instead is how often the commands were called that do so, if INFO is allowed (`workers/counters.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .feeding import Feeding
from .field import Field
from .removals import Removals
from .workers.task import LIST_TYPE, Task

#: What is not known yet of what the feed counts: it is the feed's next count.
NOT_TAKEN = -2


@dataclass
class Silent:
    """Those of a live copy, and the counts up to which they are at the target."""

    feeding: Feeding
    field: Field
    removals: Removals
    copied_at: int = NOT_TAKEN  # calls of commands that change keys silently, when such keys were copied last
    looked_up_at: int = NOT_TAKEN  # calls of those that remove keys silently, when those at the target were looked up
    keys: int = 0  # how many such keys there were then, in scope

    @property
    def changed(self) -> bool:
        """Whether keys of such types have, since they were copied last, as far as the source tells."""
        told = self.feeding.told.silent
        return bool(self.field.silent_types) and told >= 0 and told != self.copied_at

    @property
    def may_have_changed(self) -> bool:
        """Whether there are such keys, and the source does not tell of what changes them."""
        return self.keys > 0 and self.feeding.told.silent < 0

    @property
    def may_have_gone(self) -> bool:
        """Whether some may have been removed, as far as is told, since those at the target were looked up."""
        told = self.feeding.told.removing
        return self.field.vectors and (told != self.looked_up_at or told < 0)

    def begin(self) -> None:
        """The feed tells for the first time, or again after a gap: what is copied from now on has what came before."""
        if self.copied_at == NOT_TAKEN:
            self.copied_at, self.looked_up_at = self.feeding.told.silent, self.feeding.told.removing

    def gap(self) -> None:
        """Counters may have begun anew."""
        self.copied_at = NOT_TAKEN

    def tasks(self) -> list[Task]:
        """Tasks that list such keys, of each database of each node."""
        return [
            Task(0, LIST_TYPE, node, db, self.field.targets[db], checked=False, type=type)
            for type in self.field.silent_types
            for node, db in self.field.scopes
        ]

    def lookups(self) -> list[Task]:
        """Tasks that find what has gone silently and is still at the target, where it may be removed."""
        return [task for task in self.field.lookups() if task.target_db in self.removals.now]
