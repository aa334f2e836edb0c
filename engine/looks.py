"""What a verification is made of: workers are sent over keys of both sides, and what they find is kept on disk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .census import Census
from .contacts import Contacts
from .coordinator import Coordinator
from .desk import Desk
from .eviction import unread_bytes
from .executors import LocalProcesses
from .outlook import Outlook
from .plans import Plan
from .progress import Display
from .spool import Findings, SpooledNames, pattern, unknown_to
from .supply import Source, Supply, owners_in
from .survey import Controls
from .verdict import Verdict
from .workers.finding import UNREADABLE
from .workers.setup import Setup
from .workers.task import Task


@dataclass
class Looks:
    """The looks of one verification, one after the other; a signal that ends one ends all that would follow."""

    plan: Plan
    controls: Controls
    desk: Desk
    outlook: Outlook | None
    shown: Display
    setup: Setup  # of the workers
    cpu_s: float = 0.0  # processor time of the workers
    signal: int = 0
    any_key: bool = False  # the first one was read
    _kept: list[Findings] = field(default_factory=list)

    def close(self) -> None:
        """Forget what was found."""
        for findings in self._kept:
            findings.close()

    def nothing_found(self) -> Findings:
        """A place for findings, until the looks are closed."""
        self._kept.append(Findings({part.db: part.target_db for part in self.plan.databases}))
        return self._kept[-1]

    def take(
        self, tasks: list[Task], found: Any, supply: Supply | None, keys_total: int, writes: bool = False
    ) -> Coordinator:
        """Look at the keys of the tasks, or at those that are supplied; what is found is added to `found`."""
        plan, desk = self.plan, self.desk
        coordinator = Coordinator.of_plan(
            plan,
            LocalProcesses(),
            Contacts.of(desk.log, self.shown, desk.signals, desk.latencies),
            self.setup,
            tasks,
            aside=found,
            controls=(self.controls.sources, self.controls.targets),
            keys_total=keys_total,
            outlook=self.outlook,
            supply=supply,
            writes=writes,
        )
        try:
            coordinator.run()
        finally:
            self.cpu_s += coordinator.cpu_s
            self.any_key = self.any_key or coordinator.ledger.total.read > 0
        self.signal = self.signal or coordinator.signal
        return coordinator

    def again(self, work: str, found: Findings, verdict: Verdict) -> Findings:
        """The findings that are left after another look; keys that turn out equal or gone are added to the verdict."""
        if self.signal or not found.to_look_at:
            return found
        left = self.nothing_found()
        done = self.take([], left, self.supply_of(work, found), found.to_look_at)
        verdict.counts.add(done.state.counts)
        return found if self.signal else left

    def supply_of(self, work: str, found: Findings) -> Supply:
        """The keys that were found, for a look that does this `work` with them."""
        sources = [Source(pattern(work, pair), SpooledNames(spool)) for pair, spool in found.spools.items()]
        return Supply(sources, None, False, owners_in(self.setup))

    def told_once(self, differing: Findings, extra: Findings) -> Findings:
        """The extra ones without keys that one side refuses to show, where these were met as the source's as well."""
        if not (differing.kinds[UNREADABLE] and extra.kinds[UNREADABLE]):
            return extra
        left = self.nothing_found()
        for found in unknown_to(differing, extra):
            left.add(found)
        return left


def setup_of_looks(plan: Plan, census: Census) -> Setup:
    """The setup of the workers: both sides are read, so neither may be asked for more than its memory bears."""
    servers = census.sources + census.targets
    least = min(unread_bytes(server.maxmemory, server.used_memory) for server in servers)
    return replace(
        plan.setup,
        targets=[replace(node, read=True) for node in plan.setup.targets],
        unread_bytes=[least] * len(servers),
        on_conflict="replace",
        named=bool(plan.keys_from),
    )
