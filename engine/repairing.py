"""Repair: what a verification found different is copied again, what only the target has is removed if that was asked.

HOW IT STAYS RIGHT
    Nothing is written before every window of the comparison is settled, and what is repaired is compared again only
    when every write is acknowledged: these are passes of their own, with workers of their own. A key is copied as the
    source holds it then. One that only the target seems to have is looked at once more on both sides right before it
    is removed (`workers/lookup.py`), by the filters of the run. An error is no answer: what cannot be looked at stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .spool import Findings, SpooledNames, pattern
from .supply import Source, Supply
from .workers.finding import Finding
from .workers.news import Aside, Counts
from .workers.task import COPY, PRUNE, Scope

Run = Callable[[Any, Supply, int, bool], Counts]  # (records, supply, keys in it, whether it writes)


class Reasons:
    """Takes the keys that could not be copied, or removed."""

    def __init__(self, add: Callable[[Aside], None]) -> None:
        self.add_aside = add

    def add(self, record: Aside | Finding) -> None:
        """Keep one."""
        if isinstance(record, Aside):
            self.add_aside(record)

    def forget(self, scope: Scope) -> None:
        """Names are not scanned, so no pass over a database begins again."""


def copy_again(run: Run, found: Findings, owners: list[int] | None, aside: Callable[[Aside], None]) -> int:
    """Copy the keys that differ; how many of them the target has acknowledged."""
    supply = _supply(COPY, found, owners)
    return run(Reasons(aside), supply, found.to_look_at, True).copied if found.to_look_at else 0


def remove(run: Run, found: Findings, owners: list[int] | None, aside: Callable[[Aside], None]) -> int:
    """Remove the keys that only the target has; how many were."""
    supply = _supply(PRUNE, found, owners)
    return run(Reasons(aside), supply, found.to_look_at, True).copied if found.to_look_at else 0


def _supply(work: str, found: Findings, owners: list[int] | None) -> Supply:
    sources = [Source(pattern(work, pair), SpooledNames(spool)) for pair, spool in found.spools.items()]
    return Supply(sources, None, False, owners)
