"""Verification: both sides are read again and compared, in both directions. `verify` is the way in.

HOW IT WORKS
    1. Forward: every key of the source is compared with the target's (`workers/compare.py`). The ranges have other
       borders than those of the copy, so that a range which the copy lost is not lost in the same way twice.
    2. Reverse: keys of the target are looked up at the source. Where nothing is written, counting settles that: as many
       keys as the target has were found there in step 1, so there are no others.
    3. Rounds: what did not look equal is looked at again after growing pauses, as long as anything is written.
    4. Census: where nothing was written, a whole database must have brought as many keys as its DBSIZE tells; and the
       target must have no fewer keys at the end than at the beginning, but for those that have expired.

WHAT HAPPENS IF a server is another one by now, or a replica that is read was synchronised anew: nothing is proved, and
ChangedError says so. IF slots move: a key may have gone from a node that was still to be read to one that had been.
What was found proves nothing then either, whichever way it came out, and is thrown away (`moved`).

WHAT HAPPENS IF the source is written to: see `workers/look.py`. A key that was seen unchanged twice around another
value of the target differs, at once; one that was not is looked at again, and is `changing` if that never ends.

LIMITATIONS
    Where keys come and go, DBSIZE explains nothing, and figures carry `~`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from .aside_log import AsideLog
from .catching_up import catch_up
from .census import Census, is_written, settle_counts, settle_losses
from .contacts import Contacts
from .coordinator import Coordinator
from .desk import Desk
from .eviction import unread_bytes
from .executors import LocalProcesses
from .outlook import Outlook
from .partitioners.control import without_waiting
from .partitioners.replicas import REMEDY
from .plans import Plan
from .progress import Display, display
from .repairing import copy_again, remove
from .replica_watch import Lag, pairs_of
from .reporting import report
from .spool import Findings, SpooledNames, pattern, unknown_to
from .supply import Source, Supply, owners_in
from .survey import Controls, check_identities
from .verdict import Verdict
from .verify_plan import forward_tasks, reverse_tasks
from .workers.errors import NotConverged, StateError
from .workers.finding import UNREADABLE, Finding
from .workers.news import Counts
from .workers.setup import Setup
from .workers.task import COMPARE, RECHECK, Scope, Task

#: Before the second look at what differs while something is written; each later pause is so many times longer.
PAUSE_S, PAUSE_GROWTH = 0.25, 4.0


@dataclass
class Verification:
    """One verification of a plan's databases; `cpu_s` is the processor time of its workers."""

    plan: Plan
    controls: Controls
    desk: Desk
    opaque: dict[Scope, str] = field(default_factory=dict)  # source databases that turned out to have opaque cursors
    supply: Supply | None = None  # where the keys are named
    extra_before: int = 0  # keys that were at the target, and only there, before the copy
    cpu_s: float = 0.0
    signal: int = 0
    any_key: bool = False  # the first one was read
    outlook: Outlook | None = None  # on what may change meanwhile; who gives it closes it
    marks: Callable[[Finding], None] | None = None  # of a live copy, which mends what it is told of here
    moved: bool = False  # slots have moved meanwhile, so that nothing is proved
    _all_findings: list[Findings] = field(default_factory=list)

    @property
    def lags(self) -> list[Lag]:
        """How far the replicas were behind their masters, as far as was seen."""
        return [watch.lag for watch in self.outlook.replicas] if self.outlook else []

    def run(self) -> Verdict | None:
        """Compare; None where a signal has ended it, or slots have `moved`. Raises KeyferryError."""
        began_at = time.monotonic()
        options, log = self.desk.options, self.desk.log
        shown = display(options["progress"], "verify", log, self.desk.signals.status_asked)
        try:
            if self.outlook:
                before = self.outlook.comparing()
                before.begin()
                self.outlook = before.comparing()  # what has moved until now is read where it is
            verdict = self._verify(shown)
            if verdict is not None and self.outlook:
                self.outlook.last_look()
        finally:
            shown.close()
            for findings in self._all_findings:
                findings.close()
        if verdict is not None:
            verdict.seconds, verdict.workers = time.monotonic() - began_at, self.plan.workers
        return verdict

    def _verify(self, shown: Display) -> Verdict | None:
        before = Census.take(self.plan, self.controls, first=True)
        self.setup = _setup(self.plan, before)
        verdict = Verdict(mode=self.desk.options["verify"], before=self.extra_before, named=self.setup.named)
        verdict.sampled = self.setup.filters.sample_below is not None
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
        tasks = [] if self.supply else self._forward_tasks(before)
        keys = self.plan.keys if self.plan.some_slots else sum(before.source_keys.values())
        done = self._run(shown, tasks, found, self.supply, keys)
        verdict.counts.add(done.state.counts)
        self.read = {scope: counts.read for scope, counts in done.ledger.totals.items()}
        self.equal = {scope: counts.copied for scope, counts in done.ledger.totals.items()}

    def _forward_tasks(self, before: Census) -> list[Task]:
        return forward_tasks(self.plan, before.sources, before.targets, self.opaque, before.source_keys)

    def _needs_reverse(self, before: Census, after: Census, differing: Findings) -> bool:
        """Whether the target may have keys that the source does not have."""
        if self.supply:  # keys that the user did not name, or count out, are none of ours
            return False
        if not (self._whole and after.sources_still(before) and after.targets_still(before)):
            return True
        for target_db, keys in before.target_keys.items():
            parts = [part for part in self.plan.databases if part.target_db == target_db]
            # One that was read twice, as a table grew meanwhile, would hide one that nobody looked at.
            once = all(
                self.read.get(part.scope, 0) == before.source_keys[part.scope] == after.source_keys[part.scope]
                for part in parts
            )
            found = sum(self.equal.get(part.scope, 0) for part in parts) + differing.at_target(target_db)
            if not (once and found == keys == after.target_keys[target_db]):
                return True
        return False

    @property
    def _whole(self) -> bool:
        """Whether the databases are compared whole, each with one of its own."""
        pairs = {(part.db, part.target_db) for part in self.plan.databases}
        filtered = self.plan.filter_lines or self.supply or self.setup.filters.sample_below is not None
        return not filtered and len({target_db for _, target_db in pairs}) == len(pairs)

    def _reverse(self, shown: Display, before: Census, found: Findings, verdict: Verdict) -> None:
        tasks = reverse_tasks(self.plan, self.controls, before.targets, self.desk.options)
        done = self._run(shown, tasks, found, None, sum(before.target_keys.values()))
        verdict.target_keys = done.state.counts.read

    # ---- rounds ---------------------------------------------------------------------------------------------

    def _settle(
        self, shown: Display, before: Census, differing: Findings, extra: Findings, verdict: Verdict
    ) -> Verdict | None:
        """Look again at what differs, until it is certain; then the verdict."""
        # What only the target seems to have may have been on its way out: it is looked at closely in any case.
        extra = self._look_again(shown, RECHECK, extra, Verdict())
        for first, other, target_db in self._merged_databases():
            extra = self._look_again(shown, RECHECK, extra.moved(first, other, target_db), Verdict())
        after = Census.take(self.plan, self.controls)
        for number in range(1, self.desk.options["rounds"]):
            still = after.sources_still(before) and after.targets_still(before)
            if self.signal or still or not (len(differing) or len(extra)):
                break
            self.desk.signals.pause(PAUSE_S * PAUSE_GROWTH ** (number - 1))
            differing = self._look_again(shown, COMPARE, differing, verdict)
            extra = self._look_again(shown, RECHECK, extra, Verdict())
            after = Census.take(self.plan, self.controls)
        if self.signal:
            return None
        check_identities(self.plan, self.controls)
        self.moved = self._slots_have_moved(before, after)
        if self.moved:
            return None
        extra = self._told_once(differing, extra)
        verdict.kinds = differing.kinds + extra.kinds
        verdict.written = any(map(is_written, self.plan.survey.sources, after.sources))
        settle_counts(self.plan, before, after, self.read if self._whole else None, verdict)
        if not self.desk.options["live"] or after.sources_still(before):  # a live copy removes what the source has lost
            settle_losses(before, after, self._whole, verdict)
        if self.marks:
            for found in chain(differing, extra):
                self.marks(found)
        elif self.desk.options["repair"] and not self.desk.options["dry_run"]:
            differing, extra = self._repair(shown, differing, extra, verdict)
        if self.signal:
            return None
        report(self.desk, differing, extra, verdict)
        return verdict

    def _slots_have_moved(self, before: Census, after: Census) -> bool:
        """Whether slots have, so that a scan may have missed keys.

        A live copy is told of each key that moves at the source, and a file's names lead to their keys, unless replicas
        are asked.
        """
        if self.outlook is None or (self.plan.keys_from and not self.outlook.replicas):
            return False
        still = {"source": after.sources_still(before), "target": after.targets_still(before)}
        sides = ["target"] if self.desk.options["live"] else list(still)
        return self.outlook.moves_meanwhile(sides, [side for side in sides if not still[side]])

    # ---- what follows ---------------------------------------------------------------------------------------

    def _repair(
        self, shown: Display, differing: Findings, extra: Findings, verdict: Verdict
    ) -> tuple[Findings, Findings]:
        """Copy what differs, remove what only the target has if that was asked, and compare these keys again."""
        owners = owners_in(self.setup)
        told = AsideLog(self.desk.log, "not repaired")
        aside = told.file(self.desk.options["put_aside"] or "")

        def run(records: Any, supply: Supply, keys: int, writes: bool) -> Counts:
            return self._run(shown, [], records, supply, keys, writes).state.counts

        try:
            verdict.repaired = copy_again(run, differing, owners, aside.add)
            if self.desk.options["prune"] and not self.signal and extra.to_look_at:
                self._wait_for_replicas()
            if self.desk.options["prune"] and not self.signal:
                verdict.removed = remove(run, extra, owners, aside.add)
        finally:
            aside.close()
        told.tell_all(told.keys)
        differing = self._look_again(shown, COMPARE, differing, verdict)
        if self.desk.options["prune"]:  # what was looked at and stays may have come to the source since
            extra = self._told_once(differing, self._look_again(shown, RECHECK, extra, Verdict()))
        verdict.kinds = differing.kinds + extra.kinds
        return differing, extra

    def _wait_for_replicas(self) -> None:
        """A key that a replica does not have yet is not gone. Raises StateError for one that does not get in step."""
        pairs = pairs_of(self.plan, self.controls.sources)
        if pairs:
            self.desk.log.notice("before keys are removed, the replicas get what their masters have now")
        try:
            with without_waiting(self.controls.sources):
                self.signal = catch_up(pairs, self.desk.signals, self.desk.log.warning, set())
        except NotConverged as error:
            text = f"{error.message}: nothing was removed"
            raise StateError(text, side=error.side, address=error.address, hint=REMEDY) from None
        finally:
            for pair in pairs:
                pair.master.close()

    def _look_again(self, shown: Display, work: str, found: Findings, verdict: Verdict) -> Findings:
        """The findings that are left after another look; keys that turn out equal or gone are added to the verdict."""
        if self.signal or not found.to_look_at:
            return found
        sources = [Source(pattern(work, pair), SpooledNames(spool)) for pair, spool in found.spools.items()]
        left = self._found()
        done = self._run(shown, [], left, Supply(sources, None, False, owners_in(self.setup)), found.to_look_at)
        verdict.counts.add(done.state.counts)
        return found if self.signal else left

    def _told_once(self, differing: Findings, extra: Findings) -> Findings:
        """The extra ones without keys that one side refuses to show, where these were met as the source's as well."""
        if not (differing.kinds[UNREADABLE] and extra.kinds[UNREADABLE]):
            return extra
        left = self._found()
        for found in unknown_to(differing, extra):
            left.add(found)
        return left

    def _merged_databases(self) -> Iterator[tuple[int, int, int]]:
        """Databases that go into one target database besides another: (that one, this one, target)."""
        firsts: dict[int, int] = {}
        for db, target_db in dict.fromkeys((part.db, part.target_db) for part in self.plan.databases):
            if firsts.setdefault(target_db, db) != db:
                yield firsts[target_db], db, target_db
                firsts[target_db] = db

    # ---- workers --------------------------------------------------------------------------------------------

    def _run(
        self,
        shown: Display,
        tasks: list[Task],
        found: Any,
        supply: Supply | None,
        total: int,
        writes: bool = False,
    ) -> Coordinator:
        plan, desk = self.plan, self.desk
        coordinator = Coordinator.of_plan(
            plan,
            LocalProcesses(),
            Contacts.of(desk.log, shown, desk.signals, desk.latencies),
            self.setup,
            tasks,
            aside=found,
            controls=(self.controls.sources, self.controls.targets),
            keys_total=total,
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


def _setup(plan: Plan, census: Census) -> Setup:
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
