"""Verification: both sides are read again and compared, in both directions. `verify` is the way in.

HOW IT WORKS
    1. Forward: every key of the source is compared with the target's (`workers/compare.py`). The ranges have other
       borders than those of the copy, so that a range which the copy lost is not lost in the same way twice.
    2. Reverse: keys of the target are looked up at the source. Where nothing is written, counting settles that: as many
       keys as the target has were found there in step 1, so there are no others.
    3. Rounds: what did not look equal is looked at again after growing pauses, as long as anything is written.
    4. Census: where nothing was written, a whole database must have brought as many keys as its DBSIZE tells.

WHAT HAPPENS IF the source is written to: see `workers/look.py`. A key that was seen unchanged twice around another
value of the target differs, at once; one that was not is looked at again, and is `changing` if that never ends.

LIMITATIONS
    Where keys come and go, DBSIZE explains nothing, and figures carry `~`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .coordinator import Coordinator
from .eviction import unread_bytes
from .executors import LocalProcesses
from .governor import Governor
from .latency import Latencies
from .logs import Log
from .partitioners import topology
from .partitioners.topology import Server
from .planning import Plan
from .progress import Display, display
from .signals import Signals
from .spool import Findings, Pair, SpooledNames, pattern
from .supply import Source, Supply
from .survey import Controls, check_identities
from .text import plural
from .verdict import Verdict
from .verify_plan import forward_tasks, reverse_tasks
from .workers.task import COMPARE, RECHECK, Setup, Task

#: Before the second look at what differs while something is written; each later pause is so many times longer.
PAUSE_S, PAUSE_GROWTH = 0.25, 4.0


@dataclass
class Desk:
    """What a run talks with: its user, and the user's signals."""

    options: dict[str, Any]
    log: Log
    signals: Signals
    latencies: Latencies


@dataclass(frozen=True)
class Census:
    """Both servers at one moment: keys of the databases in question, and how much was ever written."""

    source: Server
    target: Server
    source_keys: dict[int, int]
    target_keys: dict[int, int]

    @classmethod
    def take(cls, plan: Plan, controls: Controls) -> Census:
        """Ask both. Raises AccessError."""
        source, target = topology.describe(controls.source), topology.describe(controls.target)
        ours = {part.db: topology.database_size(controls.source, part.db) for part in plan.databases}
        theirs = {part.target_db: topology.database_size(controls.target, part.target_db) for part in plan.databases}
        return cls(source, target, ours, theirs)

    def source_still(self, before: Census) -> bool:
        """Whether nothing was written to the source since then; False where it does not tell."""
        return self.source.changes == before.source.changes >= 0

    def target_still(self, before: Census) -> bool:
        """The same of the target."""
        return self.target.changes == before.target.changes >= 0


@dataclass
class Verification:
    """One verification of a plan's databases; `cpu_s` is the processor time of its workers."""

    plan: Plan
    controls: Controls
    desk: Desk
    opaque: dict[int, str] = field(default_factory=dict)  # source databases that turned out to have opaque cursors
    supply: Supply | None = None  # where the keys are named
    extra_before: int = 0  # keys that were at the target, and only there, before the copy
    cpu_s: float = 0.0
    signal: int = 0
    _all_findings: list[Findings] = field(default_factory=list)

    def run(self) -> Verdict | None:
        """Compare; None where a signal has ended it. Raises KeyferryError for what ends it early."""
        began_at = time.monotonic()
        options = self.desk.options
        shown = display(options["progress"], "verify", self.desk.log, self.desk.signals.status_asked)
        try:
            verdict = self._verify(shown)
        finally:
            shown.close()
            for findings in self._all_findings:
                findings.close()
        if verdict is not None:
            verdict.seconds, verdict.workers = time.monotonic() - began_at, self.plan.workers
        return verdict

    def _verify(self, shown: Display) -> Verdict | None:
        before = Census.take(self.plan, self.controls)
        self.setup = _setup(self.plan, before)
        verdict = Verdict(mode=self.desk.options["verify"], before=self.extra_before)
        differing, extra = self._found(), self._found()
        self._forward(shown, before, differing, verdict)
        middle = Census.take(self.plan, self.controls)
        if not self.signal and self._needs_reverse(before, middle, differing):
            self._reverse(shown, before, extra, verdict)
        return self._settle(shown, before, differing, extra, verdict)

    def _found(self) -> Findings:
        """A place for findings, that is closed at the end."""
        self._all_findings.append(Findings())
        return self._all_findings[-1]

    # ---- passes ---------------------------------------------------------------------------------------------

    def _forward(self, shown: Display, before: Census, found: Findings, verdict: Verdict) -> None:
        tasks = [] if self.supply else forward_tasks(self.plan, before.source, before.target, self.opaque)
        done = self._run(shown, tasks, found, self.supply, sum(before.source_keys.values()))
        verdict.counts.add(done.state.counts)
        self.read = {db: counts.read for db, counts in done.ledger.totals.items()}
        self.equal = {db: counts.copied for db, counts in done.ledger.totals.items()}

    def _needs_reverse(self, before: Census, after: Census, differing: Findings) -> bool:
        """Whether the target may have keys that the source does not have."""
        if self.supply:
            return False
        if not self._whole or not after.target_still(before):
            return True
        for part in self.plan.databases:
            spool = differing.spools.get((part.db, part.target_db))
            found = self.equal.get(part.db, 0) + (spool.at_target if spool else 0)
            read, ours, theirs = self.read.get(part.db, 0), part.db, part.target_db
            once = read == before.source_keys[ours] == after.source_keys[ours]  # else a key may have counted twice
            if not (once and found == before.target_keys[theirs] == after.target_keys[theirs]):
                return True
        return False

    @property
    def _whole(self) -> bool:
        """Whether the databases are compared whole, each with one of its own."""
        targets = [part.target_db for part in self.plan.databases]
        filtered = self.plan.filter_lines or self.supply
        return not filtered and len(set(targets)) == len(targets)

    def _reverse(self, shown: Display, before: Census, found: Findings, verdict: Verdict) -> None:
        workers = self.plan.workers
        tasks = reverse_tasks(self.plan, self.controls.target, before.target, self.desk.options["ranges"], workers)
        done = self._run(shown, tasks, found, None, sum(before.target_keys.values()))
        verdict.target_keys = done.state.counts.read

    # ---- rounds ---------------------------------------------------------------------------------------------

    def _settle(
        self, shown: Display, before: Census, differing: Findings, extra: Findings, verdict: Verdict
    ) -> Verdict | None:
        """Look again at what differs, until it is certain; then the verdict."""
        # What only the target seems to have may have been on its way out: it is looked at closely in any case.
        extra = self._look_again(shown, RECHECK, extra, Verdict())
        for other, first in self._merged_databases():
            extra = self._look_again(shown, RECHECK, extra.moved(first, other), Verdict())
        after = Census.take(self.plan, self.controls)
        for number in range(1, self.desk.options["rounds"]):
            still = after.source_still(before) and after.target_still(before)
            if self.signal or still or not (len(differing) or len(extra)):
                break
            self._pause(PAUSE_S * PAUSE_GROWTH ** (number - 1))
            differing = self._look_again(shown, COMPARE, differing, verdict)
            extra = self._look_again(shown, RECHECK, extra, Verdict())
            after = Census.take(self.plan, self.controls)
        if self.signal:
            return None
        check_identities(self.plan, self.controls)
        verdict.kinds = differing.kinds + extra.kinds
        self._take_census(before, after, verdict)
        return verdict

    def _look_again(self, shown: Display, work: str, found: Findings, verdict: Verdict) -> Findings:
        """The findings that are left after another look; keys that turn out equal or gone are added to the verdict."""
        if self.signal or not found.to_look_at:
            return found
        sources = [Source(pattern(work, pair), SpooledNames(spool)) for pair, spool in found.spools.items()]
        left = self._found()
        done = self._run(shown, [], left, Supply(sources, None, False), found.to_look_at)
        verdict.counts.add(done.state.counts)
        return found if self.signal else left

    def _merged_databases(self) -> Iterator[tuple[Pair, Pair]]:
        """Pairs whose target database is another pair's as well, each with the first of these."""
        firsts: dict[int, Pair] = {}
        for part in self.plan.databases:
            pair = (part.db, part.target_db)
            first = firsts.setdefault(part.target_db, pair)
            if first != pair:
                yield pair, first

    def _pause(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while time.monotonic() < until and not self.desk.signals.seen():
            time.sleep(0.05)

    # ---- census ---------------------------------------------------------------------------------------------

    def _take_census(self, before: Census, after: Census, verdict: Verdict) -> None:
        still = after.source_still(before)
        if not self._whole:
            verdict.exact = still
            return
        for part in self.plan.databases:
            read, first, last = self.read.get(part.db, 0), before.source_keys[part.db], after.source_keys[part.db]
            # Keys that expire are dropped meanwhile; a replica counts them until its master tells it to drop them.
            held_still = still or (before.source.changes < 0 and first == last)
            verdict.exact = verdict.exact and held_still and min(first, last) <= read <= max(first, last)
            if held_still and read < min(first, last) and not (before.source.role != "master" and part.expiring):
                text = f"db {part.db}: its DBSIZE is {min(first, last):,}, but SCAN brought {plural(read, 'key')}"
                verdict.unseen.append(text)

    # ---- workers --------------------------------------------------------------------------------------------

    def _run(self, shown: Display, tasks: list[Task], found: Any, supply: Supply | None, total: int) -> Coordinator:
        plan, desk = self.plan, self.desk
        limits = [node.endpoint for node in self.setup.sources]
        coordinator = Coordinator(
            self.setup,
            tasks,
            plan.workers,
            LocalProcesses(),
            aside=found,
            say=desk.log.notice,
            warn=desk.log.warning,
            tick=shown.tick,
            signal_seen=desk.signals.seen,
            measured=desk.latencies.add,
            controls=(self.controls.source, self.controls.target),
            silence_s=plan.silence_s,
            keys_total=total,
            governor=Governor(plan.limits, limits) if plan.limits else None,
            supply=supply,
            writes=False,
        )
        try:
            coordinator.run()
        finally:
            self.cpu_s += coordinator.cpu_s
        self.signal = self.signal or coordinator.signal
        return coordinator


def _setup(plan: Plan, census: Census) -> Setup:
    """The setup of the workers: both sides are read, so neither may be asked for more than its memory bears."""
    least = min(unread_bytes(server.maxmemory, server.used_memory) for server in (census.source, census.target))
    return replace(
        plan.setup,
        targets=[replace(node, read=True) for node in plan.setup.targets],
        unread_bytes=least,
        atomic=False,
        on_conflict="replace",
    )
