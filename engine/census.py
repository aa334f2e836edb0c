"""The servers counted before and after: whether anything was written meanwhile, and whether counts add up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .partitioners import topology
from .partitioners.control import Control
from .partitioners.server import Server
from .plans import Plan
from .survey import Controls, database_size
from .text import plural
from .verdict import Verdict
from .workers.task import Scope

#: The second of a save is waited for to end, by so many looks with pauses between.
SECOND_LOOKS, SECOND_PAUSE_S = 12, 0.1


@dataclass(frozen=True)
class Census:
    """All servers at one moment: keys of the databases in question, and how much was ever written."""

    sources: list[Server]
    targets: list[Server]
    source_keys: dict[Scope, int]
    target_keys: dict[int, int]

    @classmethod
    def take(cls, plan: Plan, controls: Controls, first: bool = False) -> Census:
        """Ask all; the `first` one is what later ones are compared with. Raises AccessError.

        What has come between the look at the servers and the count of their keys must be known to have come meanwhile:
        so the first one looks before it counts, and later ones count before they look.
        """
        counted = None if first else _count(plan, controls)
        look = _after_its_save if first else topology.describe
        sources, targets = [[look(one) for one in side] for side in (controls.sources, controls.targets)]
        return cls(sources, targets, *(counted or _count(plan, controls)))

    def sources_still(self, before: Census) -> bool:
        """Whether nothing was written to the source since then; False where nobody knows."""
        return all(is_still(then, now) for then, now in _pairs(before.sources, self.sources))

    def evicted_since(self, before: Census) -> tuple[int, int]:
        """How many keys source and target have evicted since then, as far as they count."""
        return _grown("evicted_keys", before.sources, self.sources), _grown(
            "evicted_keys", before.targets, self.targets
        )

    def lost_since(self, before: Census) -> dict[int, int]:
        """How many keys databases of the target have lost since then, at least, that neither expired nor were evicted.

        Nothing where a server does not tell how many have expired.
        """
        if any(server.expired_keys < 0 for server in before.targets + self.targets):
            return {}
        excuses = sum(_grown(why, before.targets, self.targets) for why in ("expired_keys", "evicted_keys"))
        lost = {}
        for db, keys in before.target_keys.items():
            fewer = max(0, keys - self.target_keys[db])
            excused = min(fewer, excuses)
            excuses -= excused
            if fewer > excused:
                lost[db] = fewer - excused
        return lost

    def targets_still(self, before: Census) -> bool:
        """The same of the target."""
        return all(is_still(then, now) for then, now in _pairs(before.targets, self.targets))


def _count(plan: Plan, controls: Controls) -> tuple[dict[Scope, int], dict[int, int]]:
    """The keys of the databases of both sides."""
    ours = {part.scope: topology.database_size(controls.sources[part.node], part.db) for part in plan.databases}
    theirs = {db: database_size(controls.targets, db) for db in {part.target_db for part in plan.databases}}
    return ours, theirs


def _after_its_save(control: Control) -> Server:
    """Look at a server in a later second than that of its last save, if it does not save all the time."""
    found = topology.describe(control)
    for _ in range(SECOND_LOOKS):
        if found.time_s != found.saved_at or found.changes < 0:
            break
        time.sleep(SECOND_PAUSE_S)
        found = topology.describe(control)
    return found


def _grown(counter: str, before: list[Server], after: list[Server]) -> int:
    """By how much a counter of servers has grown; one that is below what it was has begun anew."""
    grown = 0
    for then, now in _pairs(before, after):
        first, last = getattr(then, counter), getattr(now, counter)
        grown += last - first if last >= first else last
    return grown


def _pairs(before: list[Server], after: list[Server]) -> Iterable[tuple[Server, Server]]:
    return zip(before, after, strict=True)


def is_still(then: Server, now: Server) -> bool:
    """Whether nothing was written to a server between two looks at it; False where nobody knows.

    When a save ends, only changes that came while it ran still count. A save is known by the second in which it ended:
    where the first look was in that second, a later save of the same second would look like it.
    """
    return then.time_s != then.saved_at and _looks_still(then, now)


def _looks_still(then: Server, now: Server) -> bool:
    if then.run_id != now.run_id or then.saved_at != now.saved_at or then.saving or now.saving:
        return False
    return then.changes == now.changes >= 0


def is_written(then: Server, now: Server) -> bool:
    """Whether a server is known to have been written to between two looks at it."""
    return now.changes >= 0 and not _looks_still(then, now)


def settle_losses(before: Census, after: Census, whole: bool, verdict: Verdict) -> None:
    """Say in the verdict what the target has lost since it was counted: it may have been compared before.

    Where a database is compared as a `whole`, none of its keys may go; else it may have been one that is not ours.
    """
    verdict.evicted = after.evicted_since(before)
    for side, keys, said in zip(("source", "target"), verdict.evicted, (verdict.doubts, verdict.unseen)):
        if keys:
            said.append(f"the {side} evicted {plural(keys, 'key')}")
    for db, keys in after.lost_since(before).items():
        was = "it was" if keys == 1 else "they were"
        text = f"db {db} of the target lost {plural(keys, 'key')} while {was} compared"
        (verdict.unseen if whole else verdict.doubts).append(text)


def settle_counts(
    plan: Plan, before: Census, after: Census, read: Mapping[Scope, int] | None, verdict: Verdict
) -> None:
    """Say in the verdict whether its figures are exact, and which databases brought too few keys.

    `read` are the distinct keys that each brought; None where only a part of them was asked for, so that nobody knows
    how many there should be.
    """
    still = after.sources_still(before)
    if read is None:
        verdict.exact = still
        return
    for part in plan.databases:
        found, first, last = read.get(part.scope, 0), before.source_keys[part.scope], after.source_keys[part.scope]
        # Keys that expire are dropped meanwhile; a replica counts them until its master tells it to drop them.
        server = before.sources[part.node]
        held_still = still or (server.changes < 0 and first == last)
        verdict.exact = verdict.exact and held_still and min(first, last) <= found <= max(first, last)
        if held_still and found < min(first, last) and not (server.role != "master" and part.expiring):
            text = f"db {part.db}: its DBSIZE is {min(first, last):,}, but SCAN brought {plural(found, 'key')}"
            verdict.unseen.append(text)
