"""Verification: both sides are read again and compared, in both directions. `verify` is the way in.

HOW IT WORKS
    1. Forward: every key of the source is compared with the target's (`workers/compare.py`). The ranges have other
       borders than those of the copy, so that a range which the copy lost is not lost in the same way twice.
    2. Reverse: keys of the target are looked up at the source. Where nothing is written, counting settles that: as many
       keys as the target has were found there in step 1, so there are no others.
    3. Rounds: what did not look equal is looked at again after growing pauses, as long as anything is written, or was
       seen to change.
    4. Census: where nothing was written, a whole database must have brought as many keys as its DBSIZE tells; and the
       target must have no fewer keys at the end than at the beginning, but for those that have expired.

WHAT HAPPENS IF a server is another one by now, or a replica that is read was synchronised anew: nothing is proved, and
ChangedError says so. IF slots move: a key may have gone from a node that was still to be read to one that had been.
What was found proves nothing then either, whichever way it came out, and is thrown away (`moved`).

WHERE REPLICAS ARE READ, a slot of the source that is half moved is waited for before anything is compared: they do not
say that a key has moved, so it would seem to be gone.

WHAT HAPPENS IF the source is written to: see `workers/look.py`. A key that was seen unchanged twice around another
value of the target differs, at once; one that was not is looked at again, and is `changing` if that never ends.

LIMITATIONS
    Where keys come and go, DBSIZE explains nothing, and figures carry `~`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from .census import Census, is_written, settle_counts, settle_losses
from .desk import Desk
from .looks import Looks, setup_of_looks
from .outlook import Outlook
from .partitioners.keys import NamesFile
from .plans import Plan
from .progress import Display, display
from .repairing import repair
from .replica_watch import Lag
from .reporting import report
from .signals import ending_live
from .spool import Findings
from .supply import Supply
from .survey import Controls, check_identities
from .verdict import Verdict
from .verify_plan import forward_tasks, reverse_tasks
from .workers.finding import CHANGING, Finding
from .workers.task import COMPARE, RECHECK, Scope, Task

#: Before the second look at what differs while something is written; each later pause is so many times longer, up to a
#: length after which no key that can hold still is still changing.
PAUSE_S, PAUSE_GROWTH, LONGEST_PAUSE_S = 0.25, 4.0, 16.0


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
    names: NamesFile | None = None  # the file that names the keys
    moved: bool = False  # slots have moved meanwhile, so that nothing is proved

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
                before.wait_for_replicas(ending_live(self.desk.signals) if options["live"] else self.desk.signals)
                self.outlook = before.comparing()  # what has moved until now is read where it is
            verdict = self._verify(shown)
            if verdict is not None and self.outlook:
                self.outlook.last_look()
        finally:
            shown.close()
        if verdict is not None:
            verdict.seconds, verdict.workers = time.monotonic() - began_at, self.plan.workers
        return verdict

    def _verify(self, shown: Display) -> Verdict | None:
        before = Census.take(self.plan, self.controls, first=True)
        setup = setup_of_looks(self.plan, before)
        looks = Looks(self.plan, self.controls, self.desk, self.outlook, shown, setup)
        try:
            return self._compare(looks, before)
        finally:
            looks.close()
            self.cpu_s, self.signal, self.any_key = looks.cpu_s, looks.signal, looks.any_key

    def _compare(self, looks: Looks, before: Census) -> Verdict | None:
        named, filters = looks.setup.named, looks.setup.filters
        verdict = Verdict(mode=self.desk.options["verify"], before=self.extra_before, named=named)
        verdict.sampled = filters.sample_below is not None
        differing, extra = looks.nothing_found(), looks.nothing_found()
        self._forward(looks, before, differing, verdict)
        middle = Census.take(self.plan, self.controls)
        if not looks.signal and self._needs_reverse(before, middle, differing):
            self._reverse(looks, before, extra, verdict)
        return self._settle(looks, before, differing, extra, verdict)

    # ---- passes ---------------------------------------------------------------------------------------------

    def _forward(self, looks: Looks, before: Census, found: Findings, verdict: Verdict) -> None:
        tasks = [] if self.supply else self._forward_tasks(before)
        done = looks.take(tasks, found, self.supply, self._keys_to_come(before))
        verdict.counts.add(done.state.counts)
        self.read = {scope: counts.read for scope, counts in done.ledger.totals.items()}
        self.equal = {scope: counts.copied for scope, counts in done.ledger.totals.items()}
        self.strays = sum(counts.strays for counts in done.ledger.totals.values())

    def _keys_to_come(self, before: Census) -> int:
        """How many keys of the source will be read, for the display of progress; 0: nobody knows."""
        plan = self.plan
        if not plan.keys_total:
            return 0
        keys = plan.keys if plan.some_slots else sum(before.source_keys.values())
        return keys if plan.limit is None else min(keys, plan.limit)

    def _forward_tasks(self, before: Census) -> list[Task]:
        return forward_tasks(self.plan, before.sources, before.targets, self.opaque, before.source_keys)

    def _needs_reverse(self, before: Census, after: Census, differing: Findings) -> bool:
        """Whether the target may have keys that the source does not have."""
        if self.supply:  # keys that the user did not name, or count out, are none of ours
            return False
        if self.strays:  # the owner of the slot may have one of the same name: then one key was found twice
            return True
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
        filtered = self.plan.filter_lines or self.supply or self.plan.setup.filters.sample_below is not None
        return not filtered and len({target_db for _, target_db in pairs}) == len(pairs)

    def _reverse(self, looks: Looks, before: Census, found: Findings, verdict: Verdict) -> None:
        tasks = reverse_tasks(self.plan, self.controls, before.targets, self.desk.options)
        done = looks.take(tasks, found, None, sum(before.target_keys.values()))
        verdict.target_keys = done.state.counts.read

    # ---- rounds ---------------------------------------------------------------------------------------------

    def _settle(
        self, looks: Looks, before: Census, differing: Findings, extra: Findings, verdict: Verdict
    ) -> Verdict | None:
        """Look again at what differs, until it is certain; then the verdict."""
        differing, extra, after = self._until_certain(looks, before, differing, extra, verdict)
        if looks.signal:
            return None
        check_identities(self.plan, self.controls)
        self.moved = self._slots_have_moved(before, after)
        if self.moved:
            return None
        extra = looks.told_once(differing, extra)
        self._count(before, after, differing, extra, verdict)
        if self.marks:
            for found in chain(differing, extra):
                self.marks(found)
        elif self.desk.options["repair"] and not self.desk.options["dry_run"]:
            differing, extra = repair(looks, differing, extra, verdict)
        if looks.signal:
            return None
        report(self.desk, differing, extra, verdict)
        return verdict

    def _until_certain(
        self, looks: Looks, before: Census, differing: Findings, extra: Findings, verdict: Verdict
    ) -> tuple[Findings, Findings, Census]:
        """What differs still, what is only at the target, and the census after the last look."""
        # What only the target seems to have may have been on its way out: it is looked at closely in any case.
        extra = looks.again(RECHECK, extra, Verdict())
        for first, other, target_db in self._merged_databases():
            extra = looks.again(RECHECK, extra.moved(first, other, target_db), Verdict())
        after = Census.take(self.plan, self.controls)
        for number in range(1, self.desk.options["rounds"]):
            still = after.sources_still(before) and after.targets_still(before)
            # Servers do not count what expires: a hash may have been seen to change where nothing was written.
            settled = still and not differing.kinds[CHANGING]
            if looks.signal or settled or not (len(differing) or len(extra)):
                break
            self.desk.signals.pause(pause_before(number))
            differing = looks.again(COMPARE, differing, verdict)
            extra = looks.again(RECHECK, extra, Verdict())
            after = Census.take(self.plan, self.controls)
        return differing, extra, after

    def _count(self, before: Census, after: Census, differing: Findings, extra: Findings, verdict: Verdict) -> None:
        """What the sizes of the databases tell besides the keys that were looked at."""
        verdict.kinds = differing.kinds + extra.kinds
        verdict.found, verdict.found_apart = verdict.kinds.total(), verdict.apart
        verdict.written = any(map(is_written, self.plan.survey.sources, after.sources))
        settle_counts(self.plan, before, after, self.read if self._whole else None, verdict)
        if self.strays and self.outlook and self.outlook.as_planned:
            verdict.strays, verdict.exact = self.strays, False
        if self.names and not self.names.distinct:
            verdict.exact = False  # some may have been looked at twice
        if not self.desk.options["live"] or after.sources_still(before):  # a live copy removes what the source has lost
            settle_losses(before, after, self._whole, verdict)

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

    def _merged_databases(self) -> Iterator[tuple[int, int, int]]:
        """Databases that go into one target database besides another: (that one, this one, target)."""
        firsts: dict[int, int] = {}
        for db, target_db in dict.fromkeys((part.db, part.target_db) for part in self.plan.databases):
            if firsts.setdefault(target_db, db) != db:
                yield firsts[target_db], db, target_db
                firsts[target_db] = db


def pause_before(number: int) -> float:
    """Seconds before a round: 1 is the first that looks at anything again."""
    return min(PAUSE_S * PAUSE_GROWTH ** (number - 1), LONGEST_PAUSE_S)
