"""A copy from survey to summary: what `keyferry replicate` and the Python API share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import handover
from .aside_log import AsideLog
from .contacts import Contacts
from .coordinator import Coordinator
from .copy_pass import CopyPass
from .differences import DiffFile, diff_file
from .ending import by_the_first_key, end_early, exit_code_of
from .eviction import Watch
from .executors import LocalProcesses
from .feed_choice import feed_setup, refuse_deafness, refuse_silence
from .filtering import at_the_same_instants
from .forkserver import helpers_cpu_s
from .given_names import GivenNames
from .grammar import Invocation
from .latency import Latencies
from .live_checks import announce, refuse_circles
from .logs import Log
from .outlook import Outlook, outlook_of
from .pairs import refuse_to_write_what_is_read
from .partitioners.keys import NamesFile
from .passes import find_out, least_pool, until_servers_stay
from .planning import make
from .plans import Plan
from .progress import Display, display
from .proof import Proof
from .reaching_side import seeds_of
from .settings import Settings
from .signals import Ended, Signals, ending_live
from .summary import Summary
from .supply import Supply, names_file, refuse_to_begin_again, supply_of, tell_of_names
from .survey import Controls
from .text import plural
from .waiting import waiting
from .workers.errors import EXIT_SIGNAL, ChangedError, KeyferryError
from .workers.filters import Filters

if TYPE_CHECKING:
    from .live_memory import Memory


class Copy:
    """One copy; `summary` is there afterwards, also after an error."""

    def __init__(self, call: Invocation, log: Log, signals: Signals) -> None:
        self.call, self.log, self.signals = call, log, signals
        self.options: dict[str, Any] = call.options
        self.summary: Summary | None = None
        self.began_at = time.monotonic()
        self.aside_log = AsideLog(log)
        self.names: NamesFile | None = None  # of --keys-from
        self.given: GivenNames | None = None  # with --limit
        self.filters: Filters | None = None  # of the first pass
        assert call.source is not None and call.target is not None
        self.seeds = seeds_of(call.source, call.target)
        self.outlook: Outlook | None = None
        self.any_key = False  # the first one was copied, maybe by an earlier pass
        self.extra_before = 0  # keys of the target before the first one was copied
        self.held: set[int] = set()  # databases that the source has held
        self.memory: Memory | None = None  # of a live copy
        self.latest: CopyPass | None = None
        self.before: CopyPass | None = None  # what it has copied may stand
        self.diff_file: DiffFile | None = None
        self.began_cpu_s = time.process_time()  # 0 where the process is ours from its start

    def plan(self) -> Plan:
        """Find out everything, touch nothing."""
        self.aside_log.check(self.options["put_aside"] or "")
        try:
            controls, plan = self.prepare(may_write=False)
            self._close(controls)
            return plan
        finally:
            self._close_names()

    def run(self) -> Summary:
        """Copy; raises KeyferryError for what ends a run early.

        A server that was restarted, failed over or replaced on the way has other data, or another hash seed, which
        makes positions of SCAN meaningless: everything is found out again, and copied again unless it comes from nodes
        of a cluster that are still the same (`handover.py`).
        """
        self.aside_log.check(self.options["put_aside"] or "")
        self.began_at = time.monotonic()
        self.latencies = Latencies([side for side in (self.call.source, self.call.target) if side])
        try:
            with diff_file(self.options["diff_file"]) as self.diff_file:
                return until_servers_stay(self.log, self._attempt, self._leave)
        except (KeyferryError, Ended) as error:
            if self.summary:  # perhaps of the pass before
                self.summary.exit_code = exit_code_of(error)
            raise
        finally:
            self._close_names()

    def _attempt(self, again: bool) -> Summary:
        controls, plan = self.prepare(may_write=True, again=again)
        try:
            if not again:
                self.extra_before = sum(plan.survey.target_sizes.values())
                for warning in plan.warnings:
                    self.log.warning(warning)
            with Settings(self.log) as settings:
                for number, wanted in plan.settings:
                    settings.change(plan.survey.sources[number].endpoint, "source", wanted)
                if plan.feed:
                    refuse_silence(plan.feed, controls.sources)
                return self._follow(plan, controls) if self.options["live"] else self._run(plan, controls)
        finally:
            self._close(controls)

    def _leave(self, changed: ChangedError) -> str:
        """Keep what the next pass may go on with; what that means, for the user. Raises RunError if there is none."""
        refuse_to_begin_again(self.options, self.names, changed)
        self.before = handover.left_by(self.latest, changed)
        return "the copy goes on with what there is now" if self.before else "the copy begins again"

    def _close(self, controls: Controls) -> None:
        controls.close()
        if self.outlook:
            self.outlook.close()

    def _close_names(self) -> None:
        if self.names:
            self.names.close()
        if self.given:
            self.given.close()

    def prepare(self, may_write: bool, again: bool = False) -> tuple[Controls, Plan]:
        """Find out about both sides, and make a plan.

        A signal ends that at once, as nothing is on its way: raises Ended. One that asked an earlier pass to cut over
        asks the next one.
        """
        signals = ending_live(self.signals) if again and self.options["live"] else self.signals
        try:
            with signals.at_once():
                controls, plan = self._find_out(may_write, again)
        except KeyferryError as error:
            raise self.told(error) from None
        controls.wait_by(waiting(self.options, self.log, self.signals))
        return controls, plan

    def _find_out(self, may_write: bool, again: bool) -> tuple[Controls, Plan]:
        self.names = names_file(self.call, self.names)
        if self.names and not self.options["no_verify"] and self.options["limit"] is None:
            self.names.keep()
        controls, found, pairs = find_out(
            self.call, self.seeds, self.options, self.log, again, may_write, held=self.held
        )
        found = replace(found, filters=at_the_same_instants(found.filters, self.filters))
        self.filters = found.filters
        self.held.update(db for db, _ in pairs)
        try:
            for line in found.permissions.unchecked if not again else ():
                self.log.notice(f"not checked: {line}")
            if self.options["live"]:
                announce(found.job, controls.targets)
                refuse_circles(found, controls.sources, controls.targets)
            plan = make(found, pairs, self.options, least_pool(self.seeds), again)
            refuse_to_write_what_is_read(found, pairs)
            if plan.feed:
                dbs = sorted({part.db for part in plan.databases})
                refuse_deafness(feed_setup(found, plan.setup, dbs, self.options, plan.feed), controls.sources)
            for part in plan.databases:
                where = f"{plan.setup.sources[part.node].endpoint.address} db {part.db} → {part.target_db}"
                self.log.info(f"{where}: {plural(part.keys, 'key')}, {part.how}")
            lanes = f"{plan.lanes} to {plan.setup.most_lanes}"
            self.log.info(f"{plural(plan.workers, 'worker')} of {lanes} lanes, method {plan.setup.method}")
        except BaseException:
            self._close(controls)
            raise
        return controls, plan

    def _follow(self, plan: Plan, controls: Controls) -> Summary:
        """Copy, and follow the changes."""
        from .live_copy import LiveCopy
        from .live_memory import Memory

        self.memory = self.memory or Memory()
        return LiveCopy(self, plan, controls, self.memory).run()

    def _run(self, plan: Plan, controls: Controls) -> Summary:
        """Copy, sum up, verify; `summary` is there afterwards, also after an error, until another pass has its own."""
        shown = display(self.options["progress"], "copy", self.log, self.signals.status_asked)
        now = self._pass(plan, controls, shown)
        self.latest = now
        failure: KeyferryError | None = None
        try:
            with self.keys_noted(lambda: now.coordinator.ledger.total.read):
                now.run()
        except KeyferryError as error:
            failure = self.told(error)
        except Ended as ended:
            self.summary = self._summary(now, None, ended.number)
            raise
        finally:
            shown.close()
            now.aside.close()
        self.summary = self._summary(now, failure)
        if failure:
            end_early(self.summary, failure, self.signals.seen(), self.log)
        self._tell(now, self.summary)
        if not (failure or self.options["no_verify"] or now.coordinator.signal):
            Proof(self, now, self.summary).run()
        return self.summary

    def look_out(self, plan: Plan, controls: Controls) -> Outlook | None:
        """The outlook of the next phase, in the place of the one before."""
        before, self.outlook = self.outlook, outlook_of(plan, controls.sources, self.log.notice)
        if before:
            before.close()
            if self.outlook:
                self.outlook.go_on(before)
        controls.wait_by(waiting(self.options, self.log, self.signals, self.outlook))
        return self.outlook

    def _pass(self, plan: Plan, controls: Controls, shown: Display) -> CopyPass:
        """What is at work for a plan; it goes on where the pass before has ended, as far as that is of use."""
        aside = self.aside_log.file(plan.put_aside)
        watch = Watch(zip(controls.sources, plan.survey.sources), zip(controls.targets, plan.survey.targets))
        outlook = self.look_out(plan, controls)
        coordinator = Coordinator.of_plan(
            plan,
            LocalProcesses(),
            Contacts.of(self.log, shown, self.signals, self.latencies),
            aside=aside,
            controls=(controls.sources, controls.targets),
            watch=watch,
            outlook=outlook,
            supply=self._supply(plan, controls) if plan.by_name else None,
        )
        now = CopyPass(plan, controls, coordinator, aside, watch, outlook)
        before, self.before = self.before, None
        if before and (kept := handover.kept_of(before, plan)):
            handover.go_on(before, now, kept)
            self.log.notice(handover.told(kept, plan))
        elif before:
            self.log.notice("the copy begins again")
        return now

    def _supply(self, plan: Plan, controls: Controls) -> Supply:
        """The names of keys. With --limit a copy does not begin again, so those that are given out are of one pass."""
        supply = supply_of(plan, controls.sources, self.names)
        if plan.limit is not None and not self.options["no_verify"]:
            self.given = supply.given = GivenNames()
        return supply

    @contextlib.contextmanager
    def keys_noted(self, keys: Callable[[], int]) -> Iterator[None]:
        """Within `with`, a pass copies; `keys()` are its keys, however it has ended."""
        try:
            yield
        finally:
            self.any_key = self.any_key or keys() > 0

    def told(self, error: KeyferryError) -> KeyferryError:
        """What has ended the run, by whether any key was copied."""
        return by_the_first_key(error, self.any_key)

    def _summary(self, now: CopyPass, failure: KeyferryError | None, ended: int = 0) -> Summary:
        """What was done; a signal has `ended` it between two passes."""
        plan, coordinator, aside = now.plan, now.coordinator, now.aside
        summary = Summary(
            counts=coordinator.state.counts,
            seconds=time.monotonic() - self.began_at,
            workers=plan.workers,
            cpu_s=coordinator.cpu_s + helpers_cpu_s() + time.process_time() - self.began_cpu_s,
            exact=not (failure or coordinator.signal) and self._is_exact(now),
            named=self.names is not None,
            put_aside_file=aside.path if aside.used else "",
            reasons=aside.reasons,
            latency=self.latencies.rows(),
            verify_note=" (--no-verify)" if self.options["no_verify"] else "",
            evicted=now.watch.keys,
            accept_eviction=self.options["accept_eviction"],
            replicas=[one.lag for one in now.outlook.replicas] if now.outlook else [],
        )
        if coordinator.signal:
            summary.exit_code = EXIT_SIGNAL + coordinator.signal
        return summary

    def _is_exact(self, now: CopyPass) -> bool:
        """Whether the figures are of distinct keys for sure."""
        return self.names.distinct if self.names else now.is_exact(self.log)

    def _tell(self, now: CopyPass, summary: Summary) -> None:
        """What the user should know of the copy, before it is verified."""
        if self.names:
            tell_of_names(self.names, summary.counts, self.log, whole=not now.coordinator.signal)
        self.aside_log.tell_all(summary.counts.aside)
        for text, advice in now.watch.warnings():
            self.log.warning(text, advice)
