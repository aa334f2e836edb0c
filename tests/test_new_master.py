"""A node without slots that is about to become a master: its first slot is on the way, and keys are there already."""

from __future__ import annotations

import pytest

from tests.conftest import ClusterFactory, ServerFactory
from tests.support.clusternodes import Node, slot_of
from tests.support.clusters import Cluster
from tests.support.commands import verdict_of
from tests.support.filling import write_numbers
from tests.support.live import wait_until
from tests.support.processes import VERIFIED, run_keyferry, start_keyferry

KEYS = 4_000
TAGGED = [b"{tag}:%d" % number for number in range(40)]
SLOT = slot_of("{tag}")
HALVES = [[(0, 8_191)], [(8_192, 16_383)], []]
FIRST = f"slot {SLOT} is half moved to a node that owns no slots yet"


@pytest.fixture
def growing(cluster: ClusterFactory) -> Cluster:
    """Two masters, and a node that has no slots."""
    return cluster("7.0", 3, 0, slots=HALVES)


def newcomer(cluster: Cluster) -> Node:
    return cluster.nodes[2]


def half_move(cluster: Cluster) -> None:
    """Half of the keys of the slot go to the new node, which has nothing else."""
    cluster.move_slot(SLOT, newcomer(cluster), leave_open=True, share=0.5)
    assert newcomer(cluster).call("DBSIZE") == len(TAGGED) // 2


@pytest.mark.parametrize("side", ["source", "target"])
def test_keys_that_are_at_a_new_master_already_are_waited_for(
    side: str, growing: Cluster, server: ServerFactory
) -> None:
    other = server("7.0")
    assert {growing.call("SET", name, "value") for name in TAGGED} == {b"OK"}
    half_move(growing)
    both = (growing.uri, other.uri) if side == "source" else (other.uri, growing.uri)
    for command in ("replicate", "compare"):
        ran = run_keyferry(command, *both, env=VERIFIED)
        assert (ran.code, FIRST in ran.err) == (7, True), (ran.out, ran.err)
    with start_keyferry("compare", *both, "--wait-for", "60s") as run:
        run.wait_for_text(FIRST)
        growing.move_slot(SLOT, newcomer(growing))
        ran = run.wait()
    only = ">" if side == "source" else "<"
    assert ran.code == 1 and f"{only}:{len(TAGGED)}" in verdict_of(ran), (ran.out, ran.err)


def test_a_node_that_becomes_a_master_during_the_copy_is_read_as_well(growing: Cluster, server: ServerFactory) -> None:
    target = server("7.0")
    write_numbers(growing, KEYS)
    assert {growing.call("SET", name, "value") for name in TAGGED} == {b"OK"}
    with start_keyferry("replicate", growing.uri, target.uri, "--rate", "2000", env=VERIFIED) as run:
        wait_until(lambda: target.call("DBSIZE") > 200)
        half_move(growing)
        run.wait_for_text(f"slot {SLOT} moving to another node (a new master)")
        run.wait_for_text(FIRST)
        growing.move_slot(SLOT, newcomer(growing))
        ran = run.wait()
    assert ran.code == 0 and target.call("DBSIZE") == KEYS + len(TAGGED), (ran.out, ran.err)
