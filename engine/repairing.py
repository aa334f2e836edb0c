"""Repair: what a verification found different is copied again, what only the target has is removed if that was asked.

HOW IT STAYS RIGHT
    Nothing is written before every window of the comparison is settled, and what is repaired is compared again only
    when every write is acknowledged: these are looks of their own, with workers of their own. A key is copied as the
    source holds it then. One that only the target seems to have is looked at once more on both sides right before it
    is removed (`workers/lookup.py`), by the filters of the run. An error is no answer: what cannot be looked at stays.
"""

from __future__ import annotations

from collections.abc import Callable

from .aside_log import AsideLog
from .catching_up import catch_up
from .looks import Looks
from .partitioners.control import without_waiting
from .partitioners.replicas import REMEDY
from .replica_watch import pairs_of
from .spool import Findings
from .verdict import Verdict
from .workers.errors import NotConverged, StateError
from .workers.finding import ONLY_TARGET, Finding
from .workers.news import Aside
from .workers.task import COMPARE, COPY, PRUNE, RECHECK, Scope


class Reasons:
    """Takes the keys that could not be copied, or removed."""

    def __init__(self, add: Callable[[Aside], None]) -> None:
        self.add_aside = add

    def add(self, record: Aside | Finding) -> None:
        """Keep one."""
        if isinstance(record, Aside):
            self.add_aside(record)

    def forget(self, scope: Scope) -> None:
        """Names are not scanned, so no pass over a database begins again."""


def repair(looks: Looks, differing: Findings, extra: Findings, verdict: Verdict) -> tuple[Findings, Findings]:
    """Copy what differs, remove what only the target has if that was asked, and compare these keys again.

    What differs and what is only at the target then. Raises KeyferryError.
    """
    desk = looks.desk
    told = AsideLog(desk.log, "not repaired")
    aside = told.file(desk.options["put_aside"] or "")
    reasons, prunes = Reasons(aside.add), desk.options["prune"]
    going = _only_at_target(looks, differing) if looks.setup.named else extra  # keys of a list are met with the others
    try:
        verdict.repaired = _write(looks, COPY, differing, reasons)
        if prunes and not looks.signal and going.to_look_at:
            _wait_for_replicas(looks)
        if prunes and not looks.signal:
            verdict.removed = _write(looks, PRUNE, going, reasons)
    finally:
        aside.close()
    told.tell_all(told.keys)
    differing = looks.again(COMPARE, differing, verdict)
    if prunes:  # what was looked at and stays may have come to the source since
        extra = looks.told_once(differing, looks.again(RECHECK, extra, Verdict()))
    verdict.kinds = differing.kinds + extra.kinds
    return differing, extra


def _only_at_target(looks: Looks, differing: Findings) -> Findings:
    """Those that only the target has."""
    found = looks.nothing_found()
    for one in differing:
        if one.kind == ONLY_TARGET:
            found.add(one)
    return found


def _write(looks: Looks, work: str, found: Findings, reasons: Reasons) -> int:
    """Copy these keys, or remove them; how many the target has acknowledged."""
    if not found.to_look_at:
        return 0
    done = looks.take([], reasons, looks.supply_of(work, found), found.to_look_at, writes=True)
    return done.state.counts.copied


def _wait_for_replicas(looks: Looks) -> None:
    """A key that a replica does not have yet is not gone. Raises StateError for one that does not get in step."""
    desk, sources = looks.desk, looks.controls.sources
    pairs = pairs_of(looks.plan, sources)
    if pairs:
        desk.log.notice("before keys are removed, the replicas get what their masters have now")
    try:
        with without_waiting(sources):
            looks.signal = catch_up(pairs, desk.signals, desk.log.warning, set())
    except NotConverged as error:
        text = f"{error.message}: nothing was removed"
        raise StateError(text, side=error.side, address=error.address, hint=REMEDY) from None
    finally:
        for pair in pairs:
            pair.master.close()
