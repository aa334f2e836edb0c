"""What `keyferry replicate --live` does between plan and summary, with what it shares with any copy."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from .contacts import Contacts
from .coordinator import Coordinator
from .desk import Desk
from .ending import end_early
from .environment import TOLD
from .eviction import Watch
from .executors import LocalProcesses
from .following import Following, Parts
from .forkserver import helpers_cpu_s
from .hook import run_hook
from .live import Live
from .live_memory import Memory
from .plans import Plan
from .progress import Display, display
from .proof import MOVES_PAUSE_S, VERIFICATIONS_MAX
from .signals import Ended, ending_live, from_now_on
from .summary import Summary
from .survey import Controls
from .text import key_text, shortened
from .verdict import Verdict
from .verifying import Verification
from .workers.errors import EXIT_INCOMPLETE, EXIT_OK, EXIT_SIGNAL, ChangedError, KeyferryError, NotConverged
from .workers.finding import ONLY_TARGET, Finding
from .workers.setup import Setup
from .workers.task import Task

if TYPE_CHECKING:
    from .copying import Copy

#: So many keys that were not ours to remove are told one by one.
TOLD_LEFT = 5
#: What the table says in the place of a verdict.
NOT_ASKED_FOR = " (--no-verify)"
OUTDATED = " (what was found before does not stand any more)"
UNVERIFIED = "nothing was verified, so it is not claimed that both sides are equal"


class LiveCopy:
    """One pass; `memory` is of the whole run."""

    def __init__(self, copy: Copy, plan: Plan, controls: Controls, memory: Memory) -> None:
        self.copy, self.plan, self.controls = copy, plan, controls
        self.options: dict[str, Any] = copy.options
        self.signals = ending_live(copy.signals)
        self.aside = copy.aside_log.file(plan.put_aside)
        found = plan.survey
        self.watch = Watch(zip(controls.sources, found.sources), zip(controls.targets, found.targets))
        self.shown: Display | None = None
        self.verdict: Verdict | None = None  # of the last verification
        self.marked: Counter[str] = Counter()  # findings that are to be mended, by kind
        self.cpu_s = 0.0  # of verifications
        parts = Parts(self.options, copy.log, copy.signals, memory, self._coordinator, self._verify, self._check)
        self.following = Following(plan, controls, parts)

    def run(self) -> Summary:
        """Copy and follow; the summary is the copy's, also after an error. Raises KeyferryError."""
        failure: KeyferryError | None = None
        try:
            with self.copy.keys_noted(lambda: self.following.counts.read + self.following.live.keys):
                self.following.run()
            if not self.following.signal:
                self.watch.last_look()
        except KeyferryError as error:
            failure = self.copy.told(error)
        except Ended:
            if unwritten := self._put_aside():
                self.copy.log.error(unwritten)
            self.copy.summary = self._summary()
            raise
        finally:
            if self.shown:
                self.shown.close()
            if self.copy.diff_file and not self.following.result.verdict_stands:
                self.copy.diff_file.write(())  # what was found before does not stand any more
        another_follows = isinstance(failure, ChangedError) and not self.signals.seen()
        unwritten = None if another_follows else self._put_aside()
        failure = failure or unwritten
        summary = self.copy.summary = self._summary()
        if self.following.signal:
            summary.exit_code = EXIT_SIGNAL + self.following.signal
        if failure:
            end_early(summary, failure, self.signals.seen(), self.copy.log)
        self._tell(summary)
        if summary.exit_code == EXIT_OK and self.following.result.converged and self.options["on_converged"]:
            self._on_converged(summary)
        return summary

    def _put_aside(self) -> KeyferryError | None:
        """Write down what could not be copied, and was not copied later; the error where that fails.

        Not of a pass that is given up: it is followed by another one, which tries all keys again. A range may tell late
        of a key that was copied since as a changed one; where all values were found equal, all were copied.
        """
        try:
            for aside in () if self._all_are_equal else self.following.live.asides:
                self.aside.add(aside)
        except KeyferryError as error:
            return error
        finally:
            self.aside.close()
        return None

    @property
    def _all_are_equal(self) -> bool:
        """Whether the proof has found so, value by value, and still stands."""
        result = self.following.result
        if self.verdict is None or not result.verdict_stands or result.reason:
            return False
        return self.verdict.clean and self.options["verify"] == "full"

    # ---- parts ----------------------------------------------------------------------------------------------

    def _coordinator(self, setup: Setup, tasks: list[Task], live: Live, phase: str) -> Coordinator:
        copy, plan = self.copy, self.plan
        if self.shown:
            self.shown.close()
        self.shown = display(self.options["progress"], phase, copy.log, copy.signals.status_asked)
        copy.look_out(plan, self.controls)
        return Coordinator.of_plan(
            plan,
            LocalProcesses(),
            Contacts.of(copy.log, self.shown, copy.signals, copy.latencies),
            setup,
            tasks,
            aside=self.aside,
            controls=(self.controls.sources, self.controls.targets),
            watch=self.watch,
            keys_total=plan.keys_total if phase == "copy" and tasks else 0,
            outlook=copy.outlook,
            live=live,
        )

    def _check(self) -> None:
        if self.copy.outlook:
            self.copy.outlook.check()

    def _verify(self, coordinator: Coordinator) -> tuple[bool | None, int]:
        """Whether both sides are equal, None where that is not looked at; and the signal that has ended the look."""
        if self.options["no_verify"]:
            return None, 0
        if self.shown:
            self.shown.close()
            self.shown = None
        for _ in range(VERIFICATIONS_MAX):
            verification = self._compare(coordinator)
            if not verification.moved:
                return self.verdict is not None and self.verdict.clean, verification.signal
            self.copy.log.notice("slots of the target have moved during the verification: it is made again")
            self.signals.pause(MOVES_PAUSE_S)
            if signal := self.signals.seen():
                return False, signal
        text = "slots of the target moved during each verification: none proves anything"
        raise NotConverged(text, hint="when they rest: keyferry compare")

    def _compare(self, coordinator: Coordinator) -> Verification:
        """One verification; its verdict is there afterwards, unless a signal has ended it, or slots have moved."""
        desk = Desk(self.options, self.copy.log, self.signals, self.copy.latencies, self.copy.diff_file)
        before = 0 if self.options["prune"] else self.copy.extra_before
        opaque, outlook = coordinator.scanners.restarted, self.copy.outlook
        marks = self._mark if self.options["repair"] else None
        repaired = Counter(self.marked)
        verification = Verification(self.plan, self.controls, desk, opaque, None, before, outlook=outlook, marks=marks)
        try:
            self.verdict = verification.run()
        finally:
            self.cpu_s += verification.cpu_s
        if self.verdict:
            self.verdict.removed = repaired[ONLY_TARGET]
            self.verdict.repaired = repaired.total() - self.verdict.removed
        return verification

    def _mark(self, found: Finding) -> None:
        """A key that differs goes the way of all that have changed; one that only the target has, with --prune."""
        if found.kind != ONLY_TARGET or self.options["prune"]:
            self.following.live.generations.mark(found.db, [found.key], time.monotonic())
            # What could not be copied is tried again, and counts where it has counted before.
            self.marked[found.kind] += not self.following.live.asides.has(found.db, found.key)

    def _summary(self) -> Summary:
        following, copy = self.following, self.copy
        counts = following.counts
        counts.aside = sum(self.aside.reasons.values())
        own_cpu_s = helpers_cpu_s() + time.process_time() - copy.began_cpu_s
        return Summary(
            counts=counts,
            seconds=following.copy_s,
            workers=self.plan.workers,
            cpu_s=following.cpu_s + following.result.cpu_s + self.cpu_s + own_cpu_s,
            exact=False,
            put_aside_file=self.aside.path if self.aside.used else "",
            reasons=self.aside.reasons,
            latency=copy.latencies.rows(),
            verify_note=NOT_ASKED_FOR if self.options["no_verify"] else OUTDATED if self.verdict else "",
            evicted=self.watch.keys,
            accept_eviction=self.options["accept_eviction"],
            replicas=[one.lag for one in copy.outlook.replicas] if copy.outlook else [],
            live=following.result,
            verdict=self.verdict if following.result.verdict_stands else None,
        )

    def _tell(self, summary: Summary) -> None:
        log, result = self.copy.log, self.following.result
        self.copy.aside_log.tell_all(summary.counts.aside)
        for db, key in list(self.following.removals.left)[:TOLD_LEFT]:
            shown = f"{shortened(key_text(key))} (db {db})"
            log.warning(f"gone or filtered out at the source, and still at the target: {shown}")
        for text, advice in [*self.watch.warnings(), *(summary.verdict.warnings() if summary.verdict else [])]:
            log.warning(text, advice)
        if result.reason:
            log.warning(f"not converged: {result.reason}", result.advice)
        elif result.equal is None and not self.following.signal:
            log.warning(UNVERIFIED)

    def _on_converged(self, summary: Summary) -> None:
        """Run the user's command; where it fails, so does the run."""
        verdict, result = self.verdict.line if self.verdict else "", self.following.result
        facts = dict(zip(TOLD, (verdict, str(summary.counts.copied), str(result.keys), f"{result.lag_max_s:.3f}")))
        # Both sides are equal: nothing is left to cut over, so from here on Ctrl-C ends the run, too.
        signals = from_now_on(self.copy.signals)
        if why := run_hook(self.options["on_converged"], facts, signals):
            self.copy.log.warning(f"--on-converged: {why}")
            number = signals.seen()
            summary.exit_code = EXIT_SIGNAL + number if number else EXIT_INCOMPLETE
