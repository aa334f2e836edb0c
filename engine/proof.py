"""The verification at the end of a copy: by the maps of clusters as they are by then, until one of them stands.

WHAT HAPPENS IF slots move while it compares: what was found proves nothing (`verifying.py`), and it is made again by
the new map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .copy_pass import CopyPass
from .desk import Desk
from .ending import end_early
from .plans import Plan
from .signals import Ended
from .summary import Summary
from .supply import Supply, supply_again, supply_of
from .survey import Controls
from .verdict import Verdict
from .verifying import Verification
from .workers.errors import EXIT_INCOMPLETE, EXIT_SIGNAL, KeyferryError
from .workers.task import COMPARE

if TYPE_CHECKING:
    from .copying import Copy

#: Where slots move on and on, this many verifications must do.
VERIFICATIONS_MAX = 5
MOVES_PAUSE_S = 1.0
#: Why the closing table has no verdict.
INTERRUPTED, MOVED = " (interrupted)", " (slots moved meanwhile)"


class Proof:
    """`run` puts the verdict into the copy's `summary`, or says there why there is none."""

    def __init__(self, copy: Copy, done: CopyPass, summary: Summary) -> None:
        self.copy, self.done, self.summary = copy, done, summary
        self.signal = 0
        self.moved = False  # slots, during the last verification

    def run(self) -> None:
        """Compare what was copied. Raises KeyferryError for what ends that early; there is no verdict then."""
        summary, copy = self.summary, self.copy
        try:
            summary.verdict = self._one_that_stands()
        except KeyferryError as error:
            self.signal = copy.signals.seen()
            end_early(summary, copy.told(error), self.signal, copy.log)
        except Ended:
            summary.verify_note = INTERRUPTED
            raise
        summary.latency = copy.latencies.rows()
        if summary.verdict:
            summary.add_evicted(summary.verdict.evicted)
        summary.judge()
        if self.signal:
            summary.exit_code, summary.verify_note = EXIT_SIGNAL + self.signal, INTERRUPTED
        elif summary.verdict is None:
            summary.exit_code, summary.verify_note = summary.exit_code or EXIT_INCOMPLETE, MOVED
        else:
            for text, advice in summary.verdict.warnings(copied=True):
                copy.log.warning(text, advice)

    def _one_that_stands(self) -> Verdict | None:
        """A verdict during which no slot has moved; None where a signal came first, or where they never rest."""
        copy, outlook = self.copy, self.done.outlook
        moved = outlook is not None and outlook.any_moved
        for _ in range(VERIFICATIONS_MAX):
            verdict = self._by_the_map_of_now() if moved else self._verify(self.done.plan, self.done.controls)
            if not self.moved:
                return verdict
            moved = True
            copy.log.notice("slots have moved during the verification: it is made again")
            copy.signals.pause(MOVES_PAUSE_S)
            self.signal = copy.signals.seen()
            if self.signal:
                return None
        copy.log.warning(
            "slots moved during each verification: none proves anything", "when they rest: keyferry compare"
        )
        return None

    def _by_the_map_of_now(self) -> Verdict | None:
        if self.done.plan.by_name:  # names lead to their keys wherever those are
            return self._verify(self.done.plan, self.done.controls)
        controls, plan = self.copy.prepare(may_write=True, again=True)
        self.copy.look_out(plan, controls)
        try:
            return self._verify(plan, controls)
        finally:
            controls.close()

    def _keys_that_were_copied(self, plan: Plan, controls: Controls) -> Supply:
        given, names = self.copy.given, self.copy.names
        if given:
            return supply_again(given, plan.setup, COMPARE)
        assert names is not None
        return supply_of(plan, controls.sources, names.again(), COMPARE)

    def _verify(self, plan: Plan, controls: Controls) -> Verdict | None:
        copy = self.copy
        supply = self._keys_that_were_copied(plan, controls) if plan.by_name else None
        desk = Desk(copy.options, copy.log, copy.signals, copy.latencies, copy.diff_file)
        opaque = self.done.coordinator.scanners.restarted
        before = 0 if copy.options["prune"] else copy.extra_before  # what is to go is a fault where it stays
        verification = Verification(
            plan, controls, desk, opaque, supply, before, outlook=copy.outlook, names=copy.names
        )
        try:
            return verification.run()
        finally:
            self.summary.cpu_s += verification.cpu_s
            self.signal = self.signal or verification.signal
            self.moved = verification.moved
