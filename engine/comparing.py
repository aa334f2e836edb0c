"""A comparison from survey to summary: what `keyferry compare` and the Python API share."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from .aside_log import AsideLog
from .desk import Desk
from .differences import DiffFile, diff_file
from .ending import by_the_first_key, end_early, exit_code_of
from .filtering import at_the_same_instants
from .forkserver import helpers_cpu_s
from .given import filled
from .grammar import Invocation
from .latency import Latencies
from .logs import Log
from .outlook import outlook_of
from .pairs import refuse_to_write_what_is_read
from .partitioners.keys import NamesFile
from .passes import find_out, least_pool, until_servers_stay
from .plan_warnings import warnings_of_comparison
from .planning import make
from .plans import Plan
from .reaching_side import seeds_of
from .sampling import CHECKSUMS, sample_below, statement
from .signals import Ended, Signals
from .summary import Summary
from .supply import names_file, refuse_to_begin_again, supply_of, tell_of_names
from .survey import Controls
from .text import plural
from .verdict import Verdict
from .verifying import Verification
from .waiting import waiting
from .workers.errors import EXIT_SIGNAL, ChangedError, KeyferryError, UsageError
from .workers.filters import Filters
from .workers.task import COMPARE


class Compare:
    """One comparison; `summary` is there afterwards, also after an error."""

    def __init__(self, call: Invocation, log: Log, signals: Signals) -> None:
        self.call, self.log, self.signals = call, log, signals
        assert call.source is not None and call.target is not None
        self.seeds = seeds_of(call.source, call.target)
        # A plan knows of the copy's options; none of them has a say where nothing is written.
        self.options: dict[str, Any] = filled("replicate", {}) | call.options
        self.summary: Summary | None = None
        self.names: NamesFile | None = None  # of --keys-from
        self.filters: Filters | None = None  # of the first pass
        self.diff_file: DiffFile | None = None
        self.any_key = False  # the first one was compared, maybe by an earlier pass
        self.began_cpu_s = time.process_time()  # 0 where the process is ours from its start

    def run(self) -> Summary:
        """Compare; raises KeyferryError for what ends it early.

        With a server that was replaced it begins again, and where slots have moved, as nothing is proved then.
        """
        if self.options["dry_run"] and not self.options["repair"]:
            raise UsageError("--dry-run needs --repair: a comparison writes nothing", hint="--repair --dry-run")
        if self.options["repair"]:
            AsideLog(self.log).check(self.options["put_aside"] or "")
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
            if self.names:
                self.names.close()

    def _speak_of_all(self, verdict: Verdict, plan: Plan) -> None:
        """What the sample says of all keys from which it was drawn; one that has none of them proves nothing."""
        keys = None if plan.filter_lines else plan.keys  # of others, none could be drawn
        whole = plan.setup.filters.sample_below == CHECKSUMS
        drawn = verdict.read, verdict.found_apart, verdict.found
        verdict.confidence = statement(*drawn, keys, whole, verdict.mended)
        if keys and not verdict.read:
            verdict.unseen.append(f"the sample has none of the {plural(keys, 'key')}: take a larger one")

    def _attempt(self, again: bool) -> Summary:
        try:
            with self.signals.at_once():
                controls, plan = self._find_out(again)
        except KeyferryError as error:
            raise by_the_first_key(error, self.any_key) from None
        controls.wait_by(waiting(self.options, self.log, self.signals))
        try:
            return self._run(plan, controls)
        finally:
            controls.close()

    def _leave(self, changed: ChangedError) -> str:
        """What the next pass does, for the user. Raises RunError where there can be none."""
        refuse_to_begin_again(self.options, self.names, changed)
        return "the comparison begins again"

    @property
    def repairs(self) -> bool:
        """Whether anything may be written."""
        return self.options["repair"] and not self.options["dry_run"]

    def _find_out(self, again: bool) -> tuple[Controls, Plan]:
        self.names = names_file(self.call, self.names)
        controls, found, pairs = find_out(
            self.call, self.seeds, self.options, self.log, again, may_change=True, writes=self.repairs, compares=True
        )
        found = replace(found, filters=at_the_same_instants(found.filters, self.filters))
        self.filters = found.filters
        for line in found.permissions.unchecked if not again else ():
            self.log.notice(f"not checked: {line}")
        for warning in warnings_of_comparison(found) if not again else ():
            self.log.warning(warning)
        try:
            plan = make(found, pairs, self.options, least_pool(self.seeds))
            if self.options["repair"]:
                refuse_to_write_what_is_read(found, pairs)
            for part in plan.databases:
                self.log.info(f"db {part.db} → {part.target_db}: {plural(part.keys, 'key')}, {part.how}")
            if self.options["sample"]:
                below = sample_below(self.options["sample"], plan.keys)
                plan = replace(plan, setup=replace(plan.setup, filters=replace(found.filters, sample_below=below)))
        except BaseException:
            controls.close()
            raise
        return controls, plan

    def _run(self, plan: Plan, controls: Controls) -> Summary:
        desk = Desk(self.options, self.log, self.signals, self.latencies, self.diff_file)
        supply = supply_of(plan, controls.sources, self.names, COMPARE) if plan.by_name else None
        outlook = outlook_of(plan, controls.sources, self.log.notice)
        controls.wait_by(waiting(self.options, self.log, self.signals, outlook))
        verification = Verification(plan, controls, desk, supply=supply, names=self.names, outlook=outlook)
        summary = Summary(phase="compare", workers=plan.workers, named=self.names is not None)
        self.summary = summary
        failure: KeyferryError | None = None
        try:
            summary.verdict = verification.run()
            if verification.moved:
                where = plan.setup.sources[0].endpoint.address
                raise ChangedError("slots have moved meanwhile, or are half moved", side="source", address=where)
        except KeyferryError as error:
            failure = by_the_first_key(error, self.any_key or verification.any_key)
        finally:
            if outlook:
                outlook.close()
            self.any_key = self.any_key or verification.any_key
            summary.replicas = verification.lags
            summary.seconds = time.monotonic() - self.began_at
            summary.latency = self.latencies.rows()
            cpu_s = helpers_cpu_s() + time.process_time() - self.began_cpu_s
            summary.cpu_s = verification.cpu_s + cpu_s
        if failure:
            end_early(summary, failure, self.signals.seen(), self.log)
        if summary.verdict and self.options["sample"]:
            self._speak_of_all(summary.verdict, plan)
        summary.judge()
        if verification.signal:
            summary.exit_code = EXIT_SIGNAL + verification.signal
        if summary.verdict and self.names:
            tell_of_names(self.names, summary.verdict.counts, self.log)
        if summary.verdict:
            for text, advice in summary.verdict.warnings():
                self.log.warning(text, advice)
        return summary
