"""What of a pass may stand when another one follows: only what comes from nodes that are the same beyond doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from keyferry.eviction import Evicted
from keyferry.handover import go_on, kept_of, left_by, told
from keyferry.ledger import Ledger
from keyferry.lookout import Lookout
from keyferry.partitioners.server import Server
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import ChangedError
from keyferry.workers.news import Counts
from keyferry.workers.setup import Node, Setup
from keyferry.workers.task import COPY_RANGE, LIST_KEYS, Task

SLOTS = [[(0, 5_460)], [(5_461, 10_922)], [(10_923, 16_383)]]
SOURCES = [Node(Endpoint(port=n), f"run {n}", f"repl {n}", slots=slots) for n, slots in enumerate(SLOTS)]
TARGETS = [Node(Endpoint(port=9), "run 9", "repl 9")]


def a_pass() -> Any:
    """One that has begun to copy three nodes, and has counted keys of each."""
    lookout = Lookout("source", SOURCES, ["a", "b", "c"])
    lookout.picture = replace(lookout.picture, epochs={"a": 1, "b": 2, "c": 3})
    ledger = Ledger([])
    ledger.totals = {(node, 0): Counts(copied=10) for node in range(3)}
    return SimpleNamespace(
        plan=plan_of(list(SOURCES), list(TARGETS)),
        outlook=SimpleNamespace(has_moved=False, moves=SimpleNamespace(lookout=lookout)),
        coordinator=SimpleNamespace(ledger=ledger, leave=lambda: ledger.close([])),
    )


def plan_of(sources: list[Node], targets: list[Node] = TARGETS) -> Any:
    servers = [Server(node.endpoint, "source") for node in sources]
    return SimpleNamespace(setup=Setup(sources, targets), survey=SimpleNamespace(sources=servers), by_name=False)


NEW = replace(SOURCES[0], run_id="run of the replica", replid="repl of it")


def test_the_other_masters_are_kept_whatever_their_numbers_are_now() -> None:
    assert kept_of(a_pass(), plan_of([NEW, *SOURCES[1:]])) == {1: 1, 2: 2}
    assert kept_of(a_pass(), plan_of([SOURCES[2], NEW, SOURCES[1]])) == {1: 2, 2: 0}


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (replace(SOURCES[1], replid="loaded another data set"), {2: 2}),
        (replace(SOURCES[1], slots=[(5_461, 10_000)]), {2: 2}),
        (replace(SOURCES[1], run_id=""), {2: 2}),
        (SOURCES[1], {1: 1, 2: 2}),
    ],
    ids=["another data set", "other slots", "nobody knows", "the same"],
)
def test_a_node_that_may_be_another_one_is_not(other: Node, kept: dict[int, int]) -> None:
    assert kept_of(a_pass(), plan_of([NEW, other, SOURCES[2]])) == kept


def _moved(before: Any) -> None:
    before.outlook.has_moved = True


def _another_target(before: Any) -> None:
    before.plan.setup.targets[0] = replace(TARGETS[0], run_id="before it was restarted")


def _targets_that_do_not_tell(before: Any) -> None:
    before.plan.setup.targets[0] = replace(TARGETS[0], run_id="")


@pytest.mark.parametrize("change", [_moved, _another_target, _targets_that_do_not_tell])
def test_nothing_is_kept_where_keys_may_have_gone_elsewhere(change: Callable[[Any], None]) -> None:
    before = a_pass()
    change(before)
    assert kept_of(before, plan_of([NEW, *SOURCES[1:]])) == {}


def _put_aside(before: Any) -> None:
    before.coordinator.ledger.totals[1, 0].aside = 1


def _one_scanner(before: Any) -> None:
    before.coordinator.ledger.add(Task(0, LIST_KEYS, node=1))


def _never_seen(before: Any) -> None:
    del before.outlook.moves.lookout.picture.epochs["b"]


@pytest.mark.parametrize("change", [_put_aside, _one_scanner, _never_seen])
def test_a_node_begins_again_where_its_account_is_not_enough(change: Callable[[Any], None]) -> None:
    before = a_pass()
    change(before)
    assert kept_of(before, plan_of([NEW, *SOURCES[1:]])) == {2: 2}


def test_only_a_change_at_the_source_of_a_whole_copy_leaves_anything() -> None:
    before = a_pass()
    assert left_by(before, ChangedError("another one", side="source")) is before
    assert left_by(before, ChangedError("another one", side="target")) is None
    before.plan.by_name = True
    assert left_by(before, ChangedError("another one", side="source")) is None
    assert left_by(None, ChangedError("another one", side="source")) is None


# ---- going on -------------------------------------------------------------------------------------------------------

TWO_TARGETS = [*TARGETS, Node(Endpoint(port=8), "run 8", "repl 8")]


def evictions(*keys: int) -> list[Evicted]:
    """Of one server each, with so many keys that it has evicted meanwhile."""
    found = [Evicted(None, 100) for _ in keys]  # type: ignore[arg-type]
    for one, count in zip(found, keys):
        one.keys, one.last = count, 100 + count
    return found


def with_watches(one: Any, sources: list[Evicted], targets: list[Evicted], **restarted: str) -> Any:
    one.coordinator.scanners = SimpleNamespace(
        restarted={(int(name.removeprefix("node")), 0): why for name, why in restarted.items()}
    )
    one.watch = SimpleNamespace(sources=sources, targets=targets)
    return one


def the_next(sources: list[Node], targets: list[Node]) -> Any:
    """A pass that is about to begin, with a task for each node."""
    after = a_pass()
    after.plan = plan_of(sources, targets)
    after.outlook.moves.lookout = Lookout("source", sources, ["c", "new", "b"])
    after.coordinator.ledger = Ledger([Task(number, COPY_RANGE, node=number) for number in range(3)])
    return with_watches(after, evictions(0, 0, 0), evictions(0, 0))


def test_a_pass_goes_on_with_all_that_is_known_of_the_nodes_that_are_kept() -> None:
    before = with_watches(a_pass(), evictions(1, 2, 3), evictions(4, 5), node0="of the old one", node1="opaque")
    before.plan = plan_of(list(SOURCES), TWO_TARGETS)
    before.coordinator.ledger.add(Task(0, COPY_RANGE, node=1, start=7))
    after = the_next([SOURCES[2], NEW, SOURCES[1]], TWO_TARGETS[::-1])
    kept = kept_of(before, after.plan)
    assert kept == {1: 2, 2: 0}
    go_on(before, after, kept)

    ledger = after.coordinator.ledger
    assert {(entry.task.node, entry.position) for entry in ledger.waiting} == {(1, 0), (2, 7)}
    assert set(ledger.totals) == {(0, 0), (2, 0)}
    assert after.coordinator.scanners.restarted == {(2, 0): "opaque"}
    assert [one.keys for one in after.watch.sources] == [3, 0, 2]
    assert [one.last for one in after.watch.sources] == [103, 100, 102]
    assert [one.keys for one in after.watch.targets] == [5, 4]
    assert after.outlook.moves.lookout.picture.epochs == {"b": 2, "c": 3}
    assert told(kept, after.plan) == "what was copied of 2 nodes stands; 127.0.0.1:0 is copied again"
