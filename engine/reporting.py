"""What is told of the differences that a verification has found: the first ones, all of them in a file, or a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

from .desk import Desk
from .differences import line
from .output import say_result
from .spool import Findings
from .verdict import COPY, KEEP, REMOVE, Verdict
from .workers.finding import ONLY_TARGET, UNREADABLE, Finding


def report(desk: Desk, differing: Findings, extra: Findings, verdict: Verdict) -> None:
    """Put the first differences into the verdict, and all of them into the file that was asked for.

    `extra` were found when keys of the target were looked up. With --dry-run the plan of a repair is told besides.
    """
    if desk.options["dry_run"]:
        _tell_plan(desk.options, differing, extra, verdict)
    if verdict.kinds[UNREADABLE]:
        verdict.unreadable = next((one for one in chain(differing, extra) if one.kind == UNREADABLE), None)
    found = chain(differing, extra)
    verdict.differences = list(islice(found, desk.options["show_diffs"]))
    if desk.diff_file:
        desk.diff_file.write(chain(verdict.differences, found))
        verdict.diff_file = desk.diff_file.path


def _tell_plan(options: Mapping[str, Any], differing: Findings, extra: Findings, verdict: Verdict) -> None:
    """What a repair would do: in figures, and key by key, but beside no JSON object."""
    verdict.planned = Counter()
    for found in (differing, extra):
        for one in found:
            action = _planned(one, found is extra, options["prune"])
            verdict.planned[action] += 1
            if not options["json"]:
                say_result(f"{action:<7}{line(one)}")


def _planned(found: Finding, extra: bool, prune: bool) -> str:
    """What a repair would do about a difference."""
    if found.kind == ONLY_TARGET:
        return REMOVE if prune else KEEP
    return KEEP if extra else COPY
