"""Slots that move while they are copied, at the source and at the target: every key arrives, and is on one master."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ClusterFactory, ClustersFactory, ServerFactory
from tests.support.clusternodes import slot_of
from tests.support.clusters import Cluster
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill
from tests.support.filling import write_many
from tests.support.live import wait_for_feed, wait_until
from tests.support.mover import Mover
from tests.support.processes import VERIFIED, Result, run_keyferry, start_keyferry

#: MIGRATE carries an expiry as the time that is left: it may end up some milliseconds later.
MIGRATE_MS = 100


def seeds(*choices: str) -> pytest.MarkDecorator:
    """Ten seeds with each choice by soak; in continuous integration two, with a choice each."""
    params = [
        pytest.param(choice, seed, marks=[] if seed == number < 2 else [pytest.mark.soak])
        for number, choice in enumerate(choices)
        for seed in range(10)
    ]
    return pytest.mark.parametrize(("choice", "seed"), params)


#: More than the probe needs on each of three masters, so that their rings are really split; six keys a slot.
KEYS = 100_000
SLOTS = 500
#: Slow enough for all of the slots to be moved meanwhile.
RATE = "15000"


def fill_with_many(cluster: Cluster) -> None:
    """Keys of all types, and many strings; some share a slot."""
    fill(cluster, 1_000, tagged=0.3)
    with cluster.connect() as connection:
        connection.pipeline(
            (b"SET", b"key:%d" % n if n % 10 else b"{tag%d}%d" % (n % 70, n), b"v%d" % n) for n in range(KEYS)
        )


def until_keys_come(target: Cluster) -> None:
    """The copy has begun."""
    wait_until(lambda: target.dbsize() > 500)


def mover_of_random_slots(cluster: Cluster, seed: int, open_s: float = 0.0) -> Mover:
    """Moves slots of all other masters to one of them."""
    owners, to = cluster.owners(), cluster.masters[seed % 3]
    others = [slot for slot, owner in owners.items() if owner != to.address]
    return Mover(cluster, random.Random(seed).sample(others, SLOTS), to, open_s=open_s)


def copied_while(source: Cluster, target: Cluster, mover: Mover, *options: str) -> Result:
    """A copy in whose midst slots are moved."""
    words = ("replicate", source.uri, target.uri, "--workers", "2", *options)
    with ThreadPoolExecutor(1) as others:
        running = others.submit(run_keyferry, *words, env=VERIFIED, timeout=100)
        until_keys_come(target)
        with mover:
            ran = running.result()
            assert mover.moved > SLOTS // 2, "the copy was over before most slots had moved"
    assert mover.moved == len(mover.slots)
    assert ran.code == 0, ran.err
    return ran


@seeds("7.0", "8.2", "9.1")
def test_rule_9_slots_that_move_at_the_source_are_read_where_they_are_now(
    choice: str, seed: int, clusters: ClustersFactory
) -> None:
    source, target = clusters((choice, 3, 0), (choice, 2, 0))
    fill_with_many(source)
    ran = copied_while(source, target, mover_of_random_slots(source, seed), "--rate", RATE)
    assert "are looked at again" in ran.err
    assert_equal(source, target, ttl_tolerance_ms=MIGRATE_MS)


@seeds("9.1", "7.0", "8.2")
def test_slots_that_move_at_the_target(choice: str, seed: int, clusters: ClustersFactory) -> None:
    source, target = clusters((choice, 2, 0), (choice, 3, 0))
    fill_with_many(source)
    copied_while(source, target, mover_of_random_slots(target, seed, open_s=0.003), "--rate", RATE)
    assert_equal(source, target, ttl_tolerance_ms=MIGRATE_MS)


@seeds("source", "target")
def test_slots_that_move_atomically(choice: str, seed: int, clusters: ClustersFactory) -> None:
    source, target = clusters(("9.1", 3, 0), ("9.1", 3, 0))
    fill_with_many(source)
    moving = source if choice == "source" else target
    first = 5_461 - random.Random(seed).randrange(SLOTS)  # of two masters, unless it is that very number
    words = ("replicate", source.uri, target.uri, "--workers", "2", "--rate", RATE)
    with ThreadPoolExecutor(1) as others:
        ran = others.submit(run_keyferry, *words, env=VERIFIED, timeout=100)
        until_keys_come(target)
        moving.migrate_atomically(range(first, first + SLOTS), moving.masters[2])
        assert not ran.done()
        assert ran.result().code == 0, ran.result().err
    assert f"{choice}: slots " in ran.result().err
    assert_equal(source, target)


@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
@pytest.mark.parametrize("options", [(), ("--method", "dump"), ("--type", "hash"), ("--atomic",)], ids=str)
def test_rule_19_a_slot_that_stays_open_is_copied_key_by_key(
    kind: str, options: tuple[str, ...], clusters: ClustersFactory
) -> None:
    """Commands on several keys are refused there for ever, and nil of the old owner would mean nothing."""
    source, target = clusters((kind, 2, 0), (kind, 3, 0))
    slot = slot_of("{tag 1}")
    fill(source, 400, tagged=0.5)
    with source.connect() as connection:
        connection.pipeline((b"SET", b"{tag 1}:%d" % n, b"%d" % n) for n in range(300))
    both = (source, target)
    halves = [(one, next(node for node in one.masters if node is not one.owner(slot))) for one in both]
    for cluster, other in halves:
        cluster.move_slot(slot, other, leave_open=True, share=0.5)
    ran = run_keyferry("replicate", source.uri, target.uri, *options, env=VERIFIED, timeout=60)
    assert ran.code == 0, ran.err
    for cluster, other in halves:
        cluster.move_slot(slot, other)  # the comparison expects each key where its slot is
    if options[:1] == ("--type",):
        assert all_keys(target) == {key for key in all_keys(source) if source.call("TYPE", key) == b"hash"}
    else:
        assert_equal(source, target, ttl_tolerance_ms=MIGRATE_MS)


@pytest.mark.parametrize(("side", "version"), [("source", "7.0"), ("target", "9.1")])
def test_slots_move_between_nodes_that_tell_no_host(
    side: str, version: str, cluster: ClusterFactory, server: ServerFactory
) -> None:
    """Who is to tell names and has none says `MOVED 7 ?:6379`."""
    moving = cluster(version, 3, fresh=True)
    for node in moving.nodes:
        assert node.call("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname") == b"OK"
    other = server(version)
    source, target = (moving, other) if side == "source" else (other, moving)
    write_many(source, 3_000)
    with Mover(moving, range(200), moving.nodes[2], open_s=0.002):
        ran = run_keyferry("replicate", source.uri, target.uri, "--rate", "2000", "--retry-for", "3s", env=VERIFIED)
    assert ran.code == 0, ran.err
    assert_equal(source, target)


@pytest.mark.parametrize(
    ("live", "filter"),
    [(False, ()), (True, ()), (True, ("--type", "string", "--max-ttl", "1h"))],
    ids=["prune", "live", "live, filtered"],
)
def test_keys_of_a_slot_that_is_half_moved_at_the_target_are_removed(
    live: bool, filter: tuple[str, ...], cluster: ClusterFactory, server: ServerFactory
) -> None:
    """Some are at the node that takes the slot in: what the other one says of them is ASK."""
    source, target = server("7.0"), cluster("7.0", 2, 0)
    names = [b"{tag}:%d" % n for n in range(40)]
    for side in (source, target) if live else (target,):
        assert {side.call("SETEX", name, 1_000, "value") for name in names} == {b"OK"}
    assert source.call("SET", "stays", "value") == target.call("SET", "stays", "value") == b"OK"
    slot = slot_of("{tag}")
    other = next(node for node in target.masters if node is not target.owner(slot))
    target.move_slot(slot, other, leave_open=True, share=0.5)
    if live:
        words = ("replicate", source.uri, target.uri, "--live", "--idle-timeout", "1500", "--prune")
    else:
        words = ("compare", source.uri, target.uri, "--repair", "--prune")
    with start_keyferry(*words, *filter, "--retry-for", "3s", env=VERIFIED) as run:
        if live:
            wait_for_feed(source)
            assert source.call("DEL", *names) == len(names)
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert target.dbsize() == 1
