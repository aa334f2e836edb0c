"""Clusters as source and as target, found out from one address."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory, ClustersFactory, ServerFactory
from tests.support.clusternodes import slot_of
from tests.support.compare import all_keys, assert_equal, differences
from tests.support.dataset import fill
from tests.support.filling import Side, keys_of, write_many, write_strings
from tests.support.mover import Mover
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.summary import result_of


def copy(source: Side, target: Side, *options: str) -> tuple[int, bool, list[str]]:
    """Copy everything, which must end well: the count of keys, whether it is exact, and how both sides differ."""
    ran = run_keyferry("replicate", source.uri, target.uri, "--json", "--no-verify", "--workers", "2", *options)
    assert ran.code == 0, ran.err
    result = result_of(ran)
    # 6.2 tells expiries relative to its clock only, and may be kept waiting between the two.
    found = differences(source, target, ttl_tolerance_ms=20 if source.kind == "6.2" else 0)
    return result["keys"], result["exact"], found


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_all_types_go_from_a_server_through_clusters_and_back(
    kind: str, server: ServerFactory, clusters: ClustersFactory
) -> None:
    three, two = clusters((kind, 3, 0), (kind, 2, 0))
    source, target = server(kind), server(kind)
    fill(source, 1_500, tagged=0.3)
    write_many(source, 70_000)
    for one, other in ((source, three), (three, two), (two, target)):
        assert copy(one, other) == (keys_of(one), True, [])


def test_an_old_cluster_is_copied_into_a_new_one(clusters: ClustersFactory) -> None:
    old, new = clusters(("6.2", 2, 0), ("9.1", 3, 0))
    fill(old, 1_500, tagged=0.3)
    write_many(old, 44_000)
    assert copy(old, new) == (keys_of(old), True, [])


@pytest.mark.parametrize("option", [("--atomic",), ("--method", "dump"), ("--on-conflict", "skip")], ids=" ".join)
def test_keys_go_their_way_however_they_are_read_and_written(
    option: tuple[str, ...], clusters: ClustersFactory
) -> None:
    old, new = clusters(("8.2", 3, 0), ("8.2", 2, 0))
    fill(old, 1_500, tagged=0.3)
    assert copy(old, new, *option) == (keys_of(old), True, [])


def test_the_plan_and_the_first_line_say_what_was_found(cluster: ClusterFactory, server: ServerFactory) -> None:
    source, target = cluster("8.2", 3, 0), server("8.2")
    write_many(source, 80_000)
    ran = run_keyferry("replicate", source.uri, target.uri, "--dry-run")
    assert ran.code == 0 and target.call("DBSIZE") == 0
    assert ran.out.count("cluster master, 5,46") == 3
    assert ran.out.count(" ranges of slots") == 3
    assert "(cluster of 3 masters) db 0 · Redis 8.2.3 · 80,000 keys" in ran.err


def test_keys_by_name_are_read_where_they_are(cluster: ClusterFactory, server: ServerFactory, tmp_path: Path) -> None:
    source, target = cluster("7.0", 3, 0), server("7.0")
    write_many(source, 3_000)
    names = tmp_path / "names"
    names.write_text("".join(f"key:{n}\n" for n in range(3_000) if n % 10))
    ran = run_keyferry("replicate", source.uri, target.uri, "--keys-from", str(names), "--no-verify")
    assert ran.code == 0 and target.call("DBSIZE") == 2_700
    ran = run_keyferry("replicate", source.uri, target.uri, "--limit", "2900", "--no-verify")
    assert ran.code == 0 and target.call("DBSIZE") >= 2_900


@pytest.mark.covers("cluster")
def test_who_says_that_a_single_server_is_a_cluster_is_told_better(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 10)
    for words in (["-c", "-p", str(source.port), "replicate", target.uri],
                  ["replicate", source.uri, f"redis+cluster://{target.address}"],
                  ["ping", "-c", source.uri]):  # fmt: skip
        ran = run_keyferry(*words)
        assert ran.code == 6 and "no cluster, as -c says" in ran.err and "hint: leave -c out" in ran.err
    assert target.call("DBSIZE") == 0


def test_a_cluster_with_slots_that_nobody_owns_is_refused(cluster: ClusterFactory, server: ServerFactory) -> None:
    source, target = server("7.0"), cluster("7.0", 2, slots=[[(0, 8000)], [(8001, 16000), (16002, 16383)]])
    write_strings(source, 10)
    for words in ((source.uri, target.uri), (target.uri, source.uri)):
        ran = run_keyferry("replicate", *words)
        assert ran.code == 7 and "slots without an owner: 16001" in ran.err
    assert target.dbsize() == 0


def test_a_cluster_with_a_master_that_is_down_is_refused(cluster: ClusterFactory, server: ServerFactory) -> None:
    source, target = server("7.0"), cluster("7.0", 3, fresh=True)
    write_strings(source, 10)
    down = target.kill_master(2)
    ran = run_keyferry("replicate", source.uri, target.uri)
    assert (ran.code == 4 and down.address in ran.err and "one of 3 masters" in ran.err) or ran.code == 7
    assert "hint: " in ran.err


def test_databases_that_a_cluster_does_not_have_are_refused_with_the_reason(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = server("7.0"), cluster("7.0", 3, 0)
    write_strings(source, 10, db=3)
    refused = run_keyferry("replicate", source.uri, target.uri, "--dbs", "all")
    assert refused.code == 6 and "db 3 cannot become db 3" in refused.err and "--db-map 3:0" in refused.err
    assert target.dbsize() == 0
    assert run_keyferry("replicate", source.uri, target.uri, "--db-map", "3:0", "--no-verify").code == 0
    assert target.dbsize() == 10


def test_a_cluster_with_databases_is_copied_with_them(cluster: ClusterFactory) -> None:
    source = cluster("9.1", 2, 0, "--cluster-databases", "4")
    target = cluster("9.1", 3, 0, "--cluster-databases", "4")
    for db, count in ((0, 10_000), (3, 15_000)):
        with source.connect(db) as connection:
            connection.pipeline((b"SET", b"key:%d:%d" % (db, n), b"value") for n in range(count))
    ran = run_keyferry("replicate", source.uri, target.uri, "--dbs", "all", "--no-verify", "--json")
    assert ran.code == 0 and result_of(ran)["keys"] == 25_000 and result_of(ran)["exact"], ran.err
    for db in (0, 3):
        assert_equal(source, target, db=db)


def test_ping_reaches_every_node(cluster: ClusterFactory) -> None:
    pinged = cluster("8.2", 2, 1)
    ran = run_keyferry("ping", "-c", pinged.masters[1].uri)
    assert ran.code == 0 and ran.out.count("cluster master") == ran.out.count("cluster slave") == 2
    assert all(node.address in ran.out for node in pinged.nodes)


@pytest.mark.covers("remap")
def test_a_cluster_that_announces_names_nobody_knows_is_reached_by_a_map(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = cluster("8.2", 3, fresh=True), server("8.2")
    write_many(source, 3_000)
    for number, node in enumerate(source.nodes):
        assert node.call("CONFIG", "SET", "cluster-announce-hostname", f"node{number}.invalid") == b"OK"
        assert node.call("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname") == b"OK"
    first = source.nodes[0]
    wait_until(lambda: b"?" not in [owner[2][0] for owner in first.call("CLUSTER", "SLOTS")])
    lost = run_keyferry("replicate", source.uri, target.uri)
    assert lost.code == 3 and ".invalid" in lost.err and "one of 3 masters" in lost.err
    pairs = [("--remap", f"node{n}.invalid:{node.port}={node.address}") for n, node in enumerate(source.nodes)]
    words = [word for pair in pairs for word in pair]
    with Mover(source, range(200), source.nodes[2]):
        ran = run_keyferry("-u", source.uri, *words, "replicate", target.uri, "--rate", "2000")
    assert ran.code == 0 and target.call("DBSIZE") == 3_000, ran.err


def test_seeds_are_nodes_of_one_cluster_and_one_that_lives_is_enough(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, other, target = cluster("7.0", 3, 0), cluster("7.0", 2, 0), server("7.0")
    write_many(source, 300)
    seeds = ["-u", "127.0.0.1:1", "-u", source.masters[1].uri, "-u", source.masters[2].uri]
    ran = run_keyferry(*seeds, "replicate", target.uri)
    assert ran.code == 0 and target.call("DBSIZE") == 300, ran.err
    pinged = run_keyferry("ping", *seeds[2:])
    assert pinged.code == 0 and pinged.out.count("cluster master") == 3
    assert run_keyferry("generate", "-u", source.uri, "-u", target.uri).code == 2
    for strangers in (other.uri, target.uri):
        ran = run_keyferry("-u", source.uri, "-u", strangers, "replicate", target.uri)
        assert ran.code == 2 and "are no nodes of one cluster" in ran.err
        assert "hint: keyferry replicate SOURCE TARGET" in ran.err
    ran = run_keyferry("-u", target.uri, "-u", source.uri, "replicate", target.uri)
    text = f"{target.address} and {source.masters[0].address} are no nodes of one cluster"
    assert ran.code == 2 and text in ran.err, ran.err
    for node in source.nodes:
        node.call("ACL", "SETUSER", "default", "-cluster|myid")
    ran = run_keyferry("-u", source.masters[0].uri, "-u", source.masters[1].uri, "replicate", target.uri)
    assert ran.code == 3 and "CLUSTER MYID refused: NOPERM" in ran.err, ran.err


@pytest.mark.covers("slots")
def test_keys_of_some_slots_are_copied_from_a_cluster_and_from_a_server(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, single, target = cluster("8.2", 3, 0), server("8.2"), cluster("8.2", 2, 0)
    for side in (source, single):
        write_many(side, 3_000)
        target.flush()
        ran = run_keyferry("replicate", side.uri, target.uri, "--slots", "0-4000,9000", "--json")
        wanted = {key for key in all_keys(side) if slot_of(key) <= 4_000 or slot_of(key) == 9_000}
        assert ran.code == 0, ran.err
        assert all_keys(target) == wanted and result_of(ran)["skipped"] == 3_000 - len(wanted)


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_only_the_slots_asked_for_are_scanned_where_cursors_go_by_slot(kind: str, cluster: ClusterFactory) -> None:
    """The others are not read at all; a server that cannot do that says so in the plan, and copies the same."""
    source, target = cluster(kind, 3, 0), cluster("8.2", 2, 0)
    count, some = 70_000, range(5_000, 5_600)  # of two masters; the third one has none
    write_many(source, count)
    words = ("replicate", source.uri, target.uri, "--slots", "5000-5299,5301-5599", "--scan-count", "50")
    plan = run_keyferry(*words, "--dry-run").out
    before = sum(node.calls("scan") for node in source.masters)
    ran = run_keyferry(*words, "--json", env=VERIFIED)
    asked = sum(node.calls("scan") for node in source.masters) - before
    wanted = {key for key in all_keys(source) if (slot := slot_of(key)) in some and slot != 5_300}
    assert ran.code == 0, ran.err
    assert all_keys(target) == wanted
    assert result_of(ran)["keys"] == len(wanted) and result_of(ran)["exact"]
    if kind == "7.0":
        assert "--slots 5000-5299,5301-5599: the names of all keys are read for that" in plan
        assert result_of(ran)["skipped"] == count - len(wanted)
    else:
        assert "--slots 5000-5299,5301-5599, by SCAN" in plan
        assert result_of(ran)["skipped"] == 0
        assert asked < count / 50 / 4


def test_a_database_that_a_source_cluster_does_not_have_is_told_with_a_hint(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    ran = run_keyferry("replicate", cluster("7.0").masters[0].address, server("7.0").address, "--dbs", "0,3")
    assert ran.code == 3
    error, hint = ran.err.splitlines()
    assert error.endswith("database 3: ERR SELECT is not allowed in cluster mode")
    assert hint == "hint: see -n, --dbs and --db-map"
