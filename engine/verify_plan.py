"""The tasks of a verification: the source's ranges with other borders than the copy's, and the target's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .partitioners.ranges import Cut
from .partitioners.server import Server
from .partitioners.slots import density
from .planning import LANES, plan_database
from .plans import DatabasePlan, Plan, Survey
from .survey import Controls, look_into
from .workers.cursor import BORDER_BITS, RING, TABLE_BITS
from .workers.task import COMPARE, COPY_RANGE, LIST_KEYS, LOOK_UP, Scope, Task


def shifted(cuts: list[Cut], by_slot: bool = False) -> list[Cut]:
    """Ranges that cover the same, with borders in the middle of the ones given, where those have none.

    Where cursors go by slot, a border is the beginning of a slot, if the middle lies between two.
    """
    middles = [_middle(start, end, by_slot) for start, end, _ in cuts]
    edges = sorted({cuts[0][0], *middles, cuts[-1][1]})
    pairs = list(zip(edges, edges[1:]))
    halves = [0, *(keys // 2 for *_, keys in cuts), 0]
    return [(start, end, halves[n] + halves[min(n + 1, len(halves) - 1)]) for n, (start, end) in enumerate(pairs)]


def _runs(cuts: list[Cut]) -> list[list[Cut]]:
    """The ranges in runs, in each of which one begins where the other ends; between runs, slots are left out."""
    runs: list[list[Cut]] = []
    for cut in cuts:
        if runs and runs[-1][-1][1] == cut[0]:
            runs[-1].append(cut)
        else:
            runs.append([cut])
    return runs


def _middle(start: int, end: int, by_slot: bool) -> int:
    middle = (start + end) // 2
    bits = 64 - BORDER_BITS
    if by_slot:
        one_slot = start >> TABLE_BITS == end - 1 >> TABLE_BITS
        bits = 0 if one_slot else TABLE_BITS
    return middle >> bits << bits


def forward_tasks(
    plan: Plan, sources: list[Server], targets: list[Server], opaque: Mapping[Scope, str], sizes: Mapping[Scope, int]
) -> list[Task]:
    """Tasks that compare every key of the source's databases; `opaque` are more of those whose cursors are.

    `sources` and `targets` are as they are now, and `sizes` the source's.
    """
    tasks: list[Task] = []
    for part in plan.databases:
        # Whether nothing expires has to be true of both sides; the windows ask again.
        both = [(sources[part.node], part.db), *((one, part.target_db) for one in targets)]
        part = replace(part, keys=sizes[part.scope], opaque=part.opaque or opaque.get(part.scope, ""))
        if not part.opaque and part.probed:
            part = replace(part, cuts=[cut for run in _runs(part.cuts) for cut in shifted(run, part.by_slot)])
        tasks += _tasks_of(
            part,
            COMPARE,
            no_expiries=part.probed and not any(_expiring(*one) for one in both),
            no_field_expiries=not any(_of_expiring_fields(*one) for one in both),
        )
    return _numbered(tasks)


def reverse_tasks(plan: Plan, controls: Controls, targets: list[Server], options: dict[str, Any]) -> list[Task]:
    """Tasks that look every key of the target's databases up at the source. Reads from the target. Raises AccessError.

    Where several databases went into one, its keys are looked up in the first of them, and later in the others.
    """
    found = Survey(targets, plan.survey.sources, filters=plan.survey.filters)
    first = {part.target_db: part.db for part in reversed(plan.databases)}
    tasks: list[Task] = []
    for target_db, db in sorted(first.items()):
        for node, (control, server) in enumerate(zip(controls.targets, targets)):
            look_into(found, control, server, (node, target_db), by_name=False)
            lanes = max(1, plan.workers * LANES // len(targets))
            part = plan_database(found, (node, target_db), db, lanes, options | {"keys_from": None, "limit": None})
            tasks += _tasks_of(replace(part, db=db, target_db=target_db), LOOK_UP)
    return _numbered(tasks)


def _tasks_of(part: DatabasePlan, work: str, no_expiries: bool = False, no_field_expiries: bool = False) -> list[Task]:
    common: dict[str, Any] = {"id": 0, "node": part.node, "db": part.db, "target_db": part.target_db, "work": work}
    if part.opaque:
        return [Task(kind=LIST_KEYS, checked=False, db_keys=part.keys, **common)]
    return [
        Task(
            kind=COPY_RANGE,
            start=start,
            end=min(end, RING),
            by_slot=part.by_slot,
            checked=part.probed,
            db_keys=density(start, end, keys) if part.by_slot else part.keys,
            no_expiries=no_expiries,
            no_field_expiries=no_field_expiries,
            **common,
        )
        for start, end, keys in part.ranges
    ]


def _numbered(tasks: list[Task]) -> list[Task]:
    for number, task in enumerate(tasks):
        task.id = number
    return tasks


def _expiring(server: Server, db: int) -> int:
    """How many keys of a database expire; one that nobody tells of counts as if some did."""
    found = server.databases.get(db)
    return found.expiring if found else 1


def _of_expiring_fields(server: Server, db: int) -> int:
    """How many hashes of a database have fields that expire; one that nobody tells of counts as if some had."""
    found = server.databases.get(db)
    return (found.of_expiring_fields if found else 1) if server.fields_may_expire else 0
