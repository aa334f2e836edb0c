"""Verification where a side is a cluster: keys, expiries and differences of all nodes."""

from __future__ import annotations

import pytest

from keyferry.comparing import Compare
from keyferry.grammar import from_python
from keyferry.logs import ERROR, Log
from keyferry.plans import Plan
from keyferry.signals import Signals
from keyferry.summary import Summary
from keyferry.survey import Controls
from tests.conftest import ClustersFactory, ServerFactory
from tests.support.clusternodes import slot_of
from tests.support.commands import verdict_of
from tests.support.dataset import fill
from tests.support.filling import Side, keys_of, write_many
from tests.support.processes import VERIFIED, run_keyferry


def verdict(command: str, source: Side, target: Side, *words: str) -> tuple[int, str]:
    ran = run_keyferry(command, source.uri, target.uri, "--workers", "2", *words, env=VERIFIED)
    assert "error" not in ran.err, ran.err
    return ran.code, verdict_of(ran)


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_clusters_and_servers_are_compared(kind: str, server: ServerFactory, clusters: ClustersFactory) -> None:
    three, two = clusters((kind, 3, 0), (kind, 2, 0))
    source, target = server(kind), server(kind)
    fill(source, 1_000, tagged=0.3)
    write_many(source, 40_000)
    keys = keys_of(source)
    for one, other in ((source, three), (three, two), (two, target)):
        assert verdict("replicate", one, other) == (0, f"OK:{keys} V:0 >:0 <:0 T:0")
    for side in (two, target):
        with side.connect() as connection:
            connection.call("SET", "key:1", "another value")
            connection.call(
                "DEL",
                "key:2",
            )
            connection.call("EXPIRE", "key:3", "1000")
            connection.pipeline([("SET", f"extra:{n}", "value") for n in range(40)])
    found = f"OK:{keys - 3} V:1 >:1 <:40 T:1"
    assert verdict("compare", three, two) == (1, found)
    assert verdict("compare", three, target) == (1, found)
    assert verdict("compare", source, two) == (1, found)
    assert verdict("compare", two, source) == (1, f"OK:{keys - 3} V:1 >:40 <:1 T:1")
    assert verdict("compare", two, target) == (0, f"OK:{keys + 39} V:0 >:0 <:0 T:0")


def test_a_filtered_comparison_of_clusters_asks_no_more_than_it_wants(clusters: ClustersFactory) -> None:
    three, two = clusters(("8.2", 3, 0), ("8.2", 2, 0))
    write_many(three, 3_000)
    write_many(two, 3_000)
    with two.connect() as connection:
        connection.call("SET", "other", "value")
        connection.call("SET", "key:more", "value")
    assert verdict("compare", three, two, "--match", "key:*") == (1, "OK:2700 V:0 >:0 <:1 T:0")
    assert verdict("compare", three, two, "--match", "{hot}*") == (0, "OK:300 V:0 >:0 <:0 T:0")


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_a_copy_of_a_key_at_a_node_without_its_slot_hides_no_key_that_only_the_target_has(
    kind: str, server: ServerFactory, clusters: ClustersFactory
) -> None:
    """Counting saw as many equal keys as the target has, one of them twice: a slot's move was given up, half made."""
    (source,), target = clusters((kind, 2, 0)), server(kind)
    for side in (source, target):
        write_many(side, 300)
    slot = slot_of("key:7")
    owner = source.owner(slot)
    other = next(node for node in source.masters if node is not owner)
    with other.connect() as connection:
        connection.must("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.id)
        connection.pipeline([("ASKING",), ("SET", "key:7", "old")])
        connection.must("CLUSTER", "SETSLOT", slot, "STABLE")
    target.call("SET", "extra", "value")
    ran = run_keyferry("compare", source.uri, target.uri)
    assert (ran.code, verdict_of(ran)) == (1, "OK:~301 V:0 >:0 <:1 T:0")
    assert "the source has 1 key at nodes that do not own the slot" in ran.err


def test_keys_of_a_slot_that_has_moved_since_the_plan_was_made_are_where_they_belong(
    server: ServerFactory, clusters: ClustersFactory
) -> None:
    (source,), target = clusters(("9.1", 2, 0)), server("9.1")
    for side in (source, target):
        write_many(side, 300)
    other = next(node for node in source.masters if node is not source.owner("key:7"))

    class Late(Compare):
        def _run(self, plan: Plan, controls: Controls) -> Summary:
            source.move_slot(slot_of("key:7"), other)
            return super()._run(plan, controls)

    verdict = (
        Late(from_python("compare", [source.uri, target.uri], progress="none"), Log(ERROR), Signals()).run().verdict
    )
    assert verdict and (verdict.line, verdict.warnings()) == ("OK:300 V:0 >:0 <:0 T:0", [])
