"""The tasks of a verification: the source's ranges with other borders than the copy's, and the target's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .partitioners import ranges
from .partitioners.control import Control
from .partitioners.probe import MIN_KEYS, why_not_a_ring
from .partitioners.topology import Server, database_size
from .planning import LANES, DatabasePlan, Plan
from .workers.cursor import BORDER_BITS, RING
from .workers.task import COMPARE, COPY_RANGE, LIST_KEYS, LOOK_UP, Task

Cuts = list[tuple[int, int]]


def shifted(cuts: Cuts) -> Cuts:
    """Ranges that cover the same, with borders in the middle of the ones given, where those have none."""
    low_bits = 64 - BORDER_BITS
    middles = [(start + end) // 2 >> low_bits << low_bits for start, end in cuts]
    edges = sorted({cuts[0][0], *middles, cuts[-1][1]})
    return list(zip(edges, edges[1:]))


def forward_tasks(plan: Plan, source: Server, target: Server, opaque: Mapping[int, str]) -> list[Task]:
    """Tasks that compare every key of the source's databases; `opaque` are more of those whose cursors are."""
    tasks: list[Task] = []
    for part in plan.databases:
        # Whether no key expires has to be true of both sides; the windows ask again.
        no_expiries = part.probed and not (_expiring(source, part.db) or _expiring(target, part.target_db))
        common = _common(part, COMPARE)
        if part.opaque or part.db in opaque:
            tasks.append(Task(len(tasks), LIST_KEYS, checked=False, **common))
            continue
        cuts = shifted(part.cuts) if part.probed else part.cuts
        for start, end in cuts:
            task = Task(len(tasks), COPY_RANGE, start=start, end=end, checked=part.probed, **common)
            task.no_expiries = no_expiries
            tasks.append(task)
    return tasks


def reverse_tasks(plan: Plan, control: Control, target: Server, wanted: int | None, workers: int) -> list[Task]:
    """Tasks that look every key of the target's databases up at the source. Reads from the target. Raises AccessError.

    Where several databases went into one, its keys are looked up in the first of them, and later in the others.
    """
    tasks: list[Task] = []
    seen: set[int] = set()
    for part in plan.databases:
        if part.target_db in seen:
            continue
        seen.add(part.target_db)
        keys = database_size(control, part.target_db)
        common = _common(part, LOOK_UP) | {"db_keys": keys}
        probed = keys >= MIN_KEYS or bool(wanted)
        opaque = target.foreign or (why_not_a_ring(control, keys) if keys >= MIN_KEYS else "")
        if opaque:
            tasks.append(Task(len(tasks), LIST_KEYS, checked=False, **common))
            continue
        for start, end in ranges.cut(keys, workers * LANES, wanted) if probed else [(0, RING)]:
            tasks.append(Task(len(tasks), COPY_RANGE, start=start, end=end, checked=probed, **common))
    return tasks


def _common(part: DatabasePlan, work: str) -> dict[str, Any]:
    return {"db": part.db, "target_db": part.target_db, "db_keys": part.keys, "work": work}


def _expiring(server: Server, db: int) -> int:
    """How many keys of a database expire; one that nobody tells of counts as if some did."""
    found = server.databases.get(db)
    return found.expiring if found else 1
