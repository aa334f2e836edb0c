"""Which keys of the target a live copy may remove, and which of those that it should it could not.

WHY
    A key that is gone at the source must go at the target, or it comes back with the switch. But keys that were at the
    target before, or that others write there, are not ours. So removing needs a target database that was empty at the
    start, or --prune. And a source that has come back empty after a crash must not empty the target too: after a change
    of identity everything that would go is counted first (`planning`), unless --prune was given.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .workers.errors import NotConverged
from .workers.setup import Setup

#: After a change of identity, no more than this part of a target's keys is removed without being asked for …
MOST_SHARE = 0.01
#: … and nothing where the source has lost more than this part of its keys.
LOST_SHARE = 0.1
#: So many names that could not be removed are kept, and counted.
MOST_LEFT = 100_000
_HINT = "look at the source; --prune says that the target is to lose these keys too"


@dataclass
class Removals:
    """`allowed` are the target databases where keys may go."""

    targets: dict[int, int]  # source db -> target db
    allowed: set[int]
    prune: bool
    planning: bool = False
    ours: set[int] = field(default_factory=set)  # target databases that hold nothing but what the run has written
    target_keys: int = 0  # when the pass began
    left: dict[tuple[int, bytes], None] = field(default_factory=dict)  # gone at the source, still at the target
    more_left: bool = False  # … and others, beyond MOST_LEFT
    _planned: dict[int, set[bytes]] = field(default_factory=dict)
    _count: int = 0

    @property
    def now(self) -> list[int]:
        """Where keys may be removed at this moment."""
        return [] if self.planning else sorted(self.allowed)

    def told(self, setup: Setup) -> Setup:
        """The setup of workers that are told so."""
        return replace(setup, removes=self.now, ours=sorted(self.ours))

    def lapse(self) -> bool:
        """Others write to the target: what is there too much may be theirs. True where that changes something."""
        changes = bool(self.ours or (self.allowed and not self.prune))
        self.ours.clear()
        if not self.prune:
            self.allowed.clear()
        return changes

    def settled(self, db: int, keys: list[bytes], left: list[bytes]) -> None:
        """These were read again; some are gone at the source and still at the target."""
        if self.left:
            for key in keys:
                self.left.pop((db, key), None)
        for key in left:
            if len(self.left) < MOST_LEFT:
                self.left[db, key] = None
            else:
                self.more_left = True

    # ---- after a change of identity -------------------------------------------------------------------------

    def counted_first(self, db: int) -> bool:
        """Whether what would go of a source database has to be counted before; where nothing may go, it need not be."""
        return self.planning and self.targets[db] in self.allowed

    def plan(self, db: int, keys: list[bytes]) -> None:
        """These would be removed; raises NotConverged where they are too many."""
        planned = self._planned.setdefault(db, set())
        self._count -= len(planned)
        planned.update(keys)
        self._count += len(planned)
        if self._count > max(1, MOST_SHARE * self.target_keys):
            raise NotConverged(
                f"a server is another one than before, and over {MOST_SHARE:.0%} of the target's"
                f" {self.target_keys:,} keys would be removed: nothing was",
                hint=_HINT,
            )

    def planned(self) -> dict[int, list[bytes]]:
        """End of the planning: what is to be read again, by source database, now that it may be removed."""
        self.planning = False
        planned, self._planned = self._planned, {}
        for db, key in self.left:
            planned.setdefault(db, set()).add(key)
        return {db: list(keys) for db, keys in planned.items()}


def refuse_what_has_shrunk(before: dict[int, int], now: dict[int, int], prune: bool) -> None:
    """Raise NotConverged where a source has come back with far fewer keys; sizes are by database."""
    for db, keys in before.items():
        if not prune and now.get(db, 0) < (1 - LOST_SHARE) * keys:
            raise NotConverged(
                f"a server is another one than before, and database {db} has {now.get(db, 0):,} keys now, not"
                f" {keys:,}: nothing was removed",
                side="source",
                hint=_HINT,
            )
