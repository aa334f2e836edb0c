"""What a pass that ended early leaves to the next one: what was copied of source nodes that are still the same.

WHY
    A master that fails over is another process: it has another hash seed, so positions of its SCAN mean nothing any
    more, and it may hold other keys. The other masters have changed nothing. What was acknowledged of them is at the
    target, and their ranges go on from there.

WHICH NODES ARE THE SAME
    Those with the same run_id and master_replid, replicas with the same connection to their master, and the same slots
    as in the plan of before, in a cluster in which no slot has moved, if all processes of the target are the same, too.
    Between the last look of one pass and the first one of the next, a slot may go away and come back: that makes a
    node's epoch grow, which the next pass looks at.

LIMITATIONS
    A node is read again from its beginning where its cursors cannot be split, as positions tell nothing there, and
    where keys were put aside, so that one file names them all. A live copy begins again with all nodes: between its
    feeds and those of the next pass, changes may have been missed on each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .copy_pass import CopyPass
from .lookout import Lookout
from .partitioners.replicas import Standing
from .plans import Plan
from .text import plural
from .workers.errors import ChangedError
from .workers.setup import Node
from .workers.task import LIST_KEYS

Kept = dict[int, int]  # source nodes that are the same: number in the old plan, number in the new one


def left_by(before: CopyPass | None, changed: ChangedError) -> CopyPass | None:
    """The pass that a changed server has ended, with its accounts closed; None where nothing of it can be of use."""
    if before is None or changed.side != "source" or before.plan.by_name or _lookout_of(before) is None:
        return None
    before.coordinator.leave()
    return before


def kept_of(before: CopyPass, plan: Plan) -> Kept:
    """The source nodes of an earlier pass that are the same in a newer plan, and need not be read again."""
    lookout = _lookout_of(before)
    if lookout is None or (before.outlook and before.outlook.has_moved):
        return {}
    old, new = before.plan.setup, plan.setup
    if not _are_the_same(old.targets, new.targets):
        return {}
    numbers = {node.run_id: number for number, node in enumerate(new.sources)}
    kept: Kept = {}
    for number, node in enumerate(old.sources):
        now = numbers.get(node.run_id)
        watched = lookout.ids[number] in lookout.picture.epochs
        if now is None or not watched or _begins_again(before, number):
            continue
        links = before.plan.survey.sources[number].standing, plan.survey.sources[now].standing
        if _is_the_same(node, new.sources[now]) and _has_kept_its_data(*links):
            kept[number] = now
    return kept


def go_on(before: CopyPass, after: CopyPass, kept: Kept) -> None:
    """Let a pass that has not begun yet go on with nodes where an earlier one has ended."""
    after.coordinator.ledger.go_on(before.coordinator.ledger, kept)
    for (node, db), why in before.coordinator.scanners.restarted.items():
        if node in kept:
            after.coordinator.scanners.restarted[kept[node], db] = why
    for number, now in kept.items():
        after.watch.sources[now].go_on(before.watch.sources[number])
    numbers = {target.run_id: number for number, target in enumerate(before.plan.setup.targets)}
    for evicted, target in zip(after.watch.targets, after.plan.setup.targets):
        evicted.go_on(before.watch.targets[numbers[target.run_id]])
    ours, theirs = _lookout_of(after), _lookout_of(before)
    assert ours is not None and theirs is not None
    ours.go_on(theirs, [ours.ids[number] for number in kept.values()])


def told(kept: Kept, plan: Plan) -> str:
    """What is copied again, and what is not."""
    again = [node.endpoint.address for number, node in enumerate(plan.setup.sources) if number not in kept.values()]
    return f"what was copied of {plural(len(kept), 'node')} stands; {', '.join(again) or 'none'} is copied again"


def _lookout_of(one: CopyPass) -> Lookout | None:
    """Who watches the source's slots."""
    return one.outlook.moves.lookout if one.outlook and one.outlook.moves else None


def _is_the_same(old: Node, new: Node) -> bool:
    known = bool(old.run_id and old.replid)
    return known and (old.run_id, old.replid, old.slots) == (new.run_id, new.replid, new.slots)


def _has_kept_its_data(old: Standing | None, new: Standing | None) -> bool:
    """Whether a replica, if it is one, was not synchronised anew, which changes neither run_id nor master_replid."""
    if old is None or new is None:
        return old is new
    return old.link_id == new.link_id != 0


def _are_the_same(old: Sequence[Node], new: Sequence[Node]) -> bool:
    """Whether all processes are; which slots they have may change, as redirections are followed."""
    ours, theirs = [{(node.run_id, node.replid) for node in nodes} for nodes in (old, new)]
    return ours == theirs and all(run_id and replid for run_id, replid in ours)


def _begins_again(before: CopyPass, number: int) -> bool:
    ledger = before.coordinator.ledger
    opaque = any(entry.task.kind == LIST_KEYS for entry in ledger.waiting if entry.task.node == number)
    return opaque or any(counts.aside for (node, _), counts in ledger.totals.items() if node == number)
