"""`keyferry replicate`: survey, plan, copy, tell."""

from __future__ import annotations

import json
import time
from typing import Any

from .aside import AsideFile
from .coordinator import Coordinator
from .executors import LocalProcesses
from .logs import Log
from .plan import Plan, make
from .progress import display, status_line
from .signals import Signals
from .summary import Summary
from .survey import Controls, check_rights, first_line, survey
from .workers.endpoint import Endpoint
from .workers.errors import EXIT_SIGNAL, AccessError, KeyferryError, RunError

UNVERIFIED = "nothing was verified: this version copies only (--no-verify says that this is meant)"


def run(source: Endpoint, target: Endpoint, options: dict[str, Any], pool: int, log: Log) -> Summary | Plan:
    """Copy, or with dry_run only plan. Raises KeyferryError; `Summary.exit_code` tells how a finished run went."""
    controls, found, pairs = survey(source, target, options, log)
    try:
        log.notice(first_line(found, pairs))
        plan = make(found, pairs, options, pool)
        check_rights(controls, found, options["method"], may_write=not options["dry_run"])
        if options["dry_run"]:
            return plan
        for warning in plan.warnings:
            log.warning(warning)
        return _copy(plan, controls, options, log)
    finally:
        controls.close()


def _copy(plan: Plan, controls: Controls, options: dict[str, Any], log: Log) -> Summary:
    began_at, began_cpu_s = time.monotonic(), time.process_time()
    aside = AsideFile(plan.put_aside)
    shown = display(options["progress"], "copy", log)
    signals = Signals(status=lambda: log.notice(status_line("copy", coordinator.state)))
    coordinator = Coordinator.of_plan(
        plan,
        LocalProcesses(),
        aside=aside,
        say=log.notice,
        tick=shown.tick,
        signal_seen=signals.seen,
        controls=(controls.source, controls.target),
    )
    failure: KeyferryError | None = None
    try:
        with signals:
            coordinator.run()
    except KeyferryError as error:
        failure = _before_the_first_key(error, coordinator)
    finally:
        shown.close()
        aside.close()
    summary = Summary(
        counts=coordinator.state.counts,
        seconds=time.monotonic() - began_at,
        workers=plan.workers,
        cpu_s=coordinator.cpu_s + time.process_time() - began_cpu_s,
        exact=failure is None and not signals.seen() and _is_exact(plan, controls, coordinator),
        put_aside_file=aside.path if aside.used else "",
        reasons=aside.reasons,
        verify_note=" (--no-verify)" if options["no_verify"] else "",
    )
    if signals.seen():
        summary.exit_code = EXIT_SIGNAL + signals.seen()
    if failure:
        failure.summary = summary  # type: ignore[attr-defined]
        raise failure
    if not options["no_verify"]:
        log.warning(UNVERIFIED)
    return summary


def _before_the_first_key(error: KeyferryError, coordinator: Coordinator) -> KeyferryError:
    """What ends a run before its first key is about reaching a server, whatever it is called later."""
    if isinstance(error, RunError) and error.side and not coordinator.ledger.total.read:
        return AccessError(error.message, side=error.side, address=error.address, hint=error.hint)
    return error


def _is_exact(plan: Plan, controls: Controls, coordinator: Coordinator) -> bool:
    """Whether the figures are of distinct keys for sure: each database held still, and as many keys were read."""
    for part in plan.databases:
        counts = coordinator.ledger.totals.get(part.db)
        read = counts.read if counts else 0
        reply = controls.source.select(part.db)
        if reply != b"OK" or controls.source.call("DBSIZE") != part.keys or read != part.keys:
            return False
    return True


def plan_text(plan: Plan) -> str:
    """What --dry-run prints."""
    from .dryrun import lines

    return "\n".join(lines(plan))


def result_json(summary: Summary) -> str:
    """What --json prints."""
    return json.dumps(summary.fields(), ensure_ascii=True)
