"""One pass of a copy: a plan, and all that is at work for it. A server that has changed makes another pass follow."""

from __future__ import annotations

from dataclasses import dataclass

from .aside import AsideFile
from .coordinator import Coordinator
from .eviction import Watch
from .logs import Log
from .outlook import Outlook
from .partitioners.control import without_waiting
from .plans import DatabasePlan, Plan
from .survey import Controls, check_identities
from .text import plural
from .workers.errors import AccessError


@dataclass(frozen=True)
class CopyPass:
    """`run` copies; the coordinator's counts tell what was acknowledged, also after an error."""

    plan: Plan
    controls: Controls
    coordinator: Coordinator
    aside: AsideFile
    watch: Watch
    outlook: Outlook | None

    def run(self) -> None:
        """Copy until everything is acknowledged, or a signal has come. Raises KeyferryError for what ends it early."""
        self.coordinator.run()
        if not self.coordinator.signal:
            check_identities(self.plan, self.controls)
            if self.outlook:
                self.outlook.last_look()
            self.watch.last_look()

    def is_exact(self, log: Log) -> bool:
        """Whether the figures are of distinct keys for sure: each database held still, and as many keys were read.

        Where SCAN filtered, or ended at --limit, nobody knows how many had to be read; that the database held still is
        enough then for a ring, whose ranges count each key once, but not for cursors of which we know nothing.
        """
        with without_waiting(self.controls.sources):  # a figure is not worth a wait
            exact = [self._database_is_exact(part, log) for part in self.plan.databases]  # each may have a warning
        return all(exact)

    def _database_is_exact(self, part: DatabasePlan, log: Log) -> bool:
        coordinator = self.coordinator
        counts = coordinator.ledger.totals.get(part.scope)
        read = counts.read if counts else 0
        control = self.controls.sources[part.node]
        if self.outlook and self.outlook.has_moved:
            return False
        try:
            size = control.call("DBSIZE") if control.select(part.db) == b"OK" else None
        except AccessError:
            return False
        held_still = size == self.plan.survey.sizes[part.scope]
        if self.plan.setup.filters.scan_words or (coordinator.supply and coordinator.supply.at_limit):
            return held_still and not (part.opaque or part.scope in coordinator.scanners.restarted)
        if held_still and read < part.keys:
            # A replica counts keys that have expired until its master tells it to drop them.
            told = "the slots hold" if part.by_slot else "its DBSIZE is"
            log.warning(f"db {part.db}: {told} {part.keys:,}, but SCAN brought {plural(read, 'key')}")
        return held_still and read == part.keys
