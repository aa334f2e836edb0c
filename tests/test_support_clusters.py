"""The clusters of the tests are what they are asked to be, agree, and change as told; comparisons see all masters."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ClusterFactory, ClustersFactory, ServerFactory
from tests.support.binaries import KINDS
from tests.support.clusternodes import SLOTS, nodes_seen, slot_of
from tests.support.clusters import Cluster
from tests.support.clusterwire import key_of
from tests.support.compare import all_keys, assert_equal, differences, lost
from tests.support.dataset import fill
from tests.support.pool import Pool
from tests.support.wire import ServerError


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_has_what_it_should_and_a_replica_takes_the_place_of_a_killed_master(
    cluster: ClusterFactory, kind: str
) -> None:
    one = cluster(kind, 3, 1, fresh=True)
    assert [len(one.replicas_of(master)) for master in one.masters] == [1, 1, 1]
    assert one.masters == one.nodes[:3] and len(one.nodes) == 6
    assert {node.cluster_info()["cluster_state"] for node in one.nodes} == {"ok"}
    assert one.owners().keys() == set(range(SLOTS))
    assert one.call("SET", "k", "v") == b"OK"
    old = one.owner("k")
    [replica] = one.replicas_of(old)
    assert old is one.owner(slot_of("k")) and old.call("GET", "k") == b"v"
    assert old.call("WAIT", 1, 5_000) == 1
    assert one.dbsize() == 1 and sorted(one.call_all("DBSIZE")) == [0, 0, 0, 0, 1, 1]
    assert one.kill_master(old) is old and not old.running
    assert one.wait_for_failover(old) is replica
    assert one.call("GET", "k") == b"v"
    one.restart(old)
    assert one.replicas_of(replica) == [old]
    assert one.fail_over(replica) is old and old in one.masters
    one.flush()
    assert one.dbsize() == 0


def test_hash_slots_are_those_of_the_servers(cluster: ClusterFactory) -> None:
    one = cluster("7.0")
    for key in (b"", b"a", b"{tag}x", b"{}{tag}", b"x{a}{b}", b"\x00\xff{\r\n}", b"}{"):
        assert slot_of(key) == one.call("CLUSTER", "KEYSLOT", key, key=key)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_data_in_clusters_of_any_size_is_equal(
    clusters: ClustersFactory, server: ServerFactory, kind: str
) -> None:
    large, small = clusters((kind, 3, 0), (kind, 2, 0))
    plain = server(kind)
    now_ms = int(time.time() * 1000)
    for one in (large, small, plain):
        fill(one, 600, now_ms=now_ms, tagged=0.3)
    assert large.dbsize() == small.dbsize() == len(all_keys(plain)) == 600
    assert min(master.call("DBSIZE") for master in large.masters) > 100
    assert_equal(large, small)
    assert_equal(plain, large)
    stream = next(key for key in all_keys(plain) if plain.call("TYPE", key) == b"stream")
    assert large.call("XADD", stream, "*", "f", "v") and large.call("SET", "extra", "x") == b"OK"
    assert large.call("DEL", b"") == 1
    assert {line.split(":")[-1] for line in differences(plain, large)} == {
        " missing on the target", " only on the target", " another value (stream)"
    }  # fmt: skip
    assert lost([b"", stream], plain) == [] and lost([b"", stream], large) == [b""]


def test_a_key_on_two_masters_or_on_the_wrong_one_is_found(cluster: ClusterFactory, server: ServerFactory) -> None:
    one, plain = cluster("8.2"), server("8.2")
    for both in (one, plain):
        both.call("SET", "k", "v")
    right, wrong = one.owner("k"), next(node for node in one.masters if node is not one.owner("k"))
    wrong.call("CLUSTER", "SETSLOT", slot_of("k"), "IMPORTING", right.id)
    with wrong.connect() as connection:
        connection.pipeline([("ASKING",), ("SET", "k", "v")])
    wrong.call("CLUSTER", "SETSLOT", slot_of("k"), "STABLE")
    found = differences(one, plain)
    assert any("on two masters" in line for line in found)
    assert any(f"on {wrong.address}, which does not have its slot" in line for line in found)
    assert all("(source)" in line for line in found)


@pytest.mark.parametrize("kind", KINDS)
def test_slots_move_with_their_keys_and_may_stay_open_half_way(cluster: ClusterFactory, kind: str) -> None:
    one = cluster(kind, fresh=True, password="secret")
    with one.connect() as connection:
        connection.pipeline(("SET", f"key {n}", n) for n in range(2_000))
    slot, to = slot_of("key 1"), one.masters[2 - one.masters.index(one.owner("key 1")) // 2]
    before = one.dbsize()
    one.move_slots([slot, *range(20)], to)
    for node in one.nodes:
        owned = next(seen for seen in nodes_seen(node) if seen.id == to.id)
        assert {slot, *range(20)} <= owned.slots
    assert one.owner(slot) is to and to.call("GET", "key 1") == b"1"
    assert (one.dbsize(), one.call("GET", "key 1")) == (before, b"1")

    for n in range(20):
        one.call("SET", f"{{tag}}{n}", n)
    slot, source = slot_of("tag"), one.owner("tag")
    to = next(node for node in one.masters if node is not source)
    one.move_slot(slot, to, leave_open=True, share=0.5)
    replies = [source.call("GET", f"{{tag}}{n}") for n in range(20)]
    assert sum(isinstance(reply, ServerError) and str(reply).startswith("ASK ") for reply in replies) == 10
    assert [one.call("GET", f"{{tag}}{n}") for n in range(20)] == [b"%d" % n for n in range(20)]
    one.move_slot(slot, to)
    assert one.owner(slot) is to and to.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 20
    assert source.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 0


def test_slots_migrate_at_once_where_the_server_can(cluster: ClusterFactory) -> None:
    one = cluster("9.1", fresh=True)
    fill(one, 500)
    before = one.dbsize()
    one.migrate_atomically(range(100, 6_000), one.masters[2])
    assert one.dbsize() == before
    assert {one.owner(slot) for slot in (100, 5_999)} == {one.masters[2]}
    assert differences(one, one) == []


def test_slots_may_belong_to_nobody(cluster: ClusterFactory) -> None:
    one = cluster("9.1", 2, fresh=True, slots=[[(0, 5_000)], [(5_002, 16_383)]])
    assert one.uncovered == 1 and one.owners().keys() == set(range(SLOTS)) - {5_001}
    assert {node.cluster_info()["cluster_state"] for node in one.nodes} == {"fail"}


def test_databases_of_a_cluster_are_compared(cluster: ClusterFactory, server: ServerFactory) -> None:
    one = cluster("9.1", 2, 0, "--cluster-databases", "4")
    fill(one, 100, db=3)
    fill(plain := server("9.1"), 100, db=3)
    assert one.call_all("DBSIZE") == [0, 0] and len(all_keys(one, db=3)) == 100
    assert differences(one, plain, db=3, ttl_tolerance_ms=10_000) == []
    assert len(differences(one, plain, db=3, target_db=0, limit=1000)) == 100


def test_a_shared_cluster_comes_back_empty_and_the_same() -> None:
    pool = Pool()
    one, other = pool.take_clusters(("7.0", 2, 0), ("7.0", 2, 0))
    assert one is not other
    fill(one, 100)
    pool.give_back_all()
    assert pool.take_clusters(("7.0", 2, 0)) == [one] and one.dbsize() == 0
    one.move_slot(1, one.masters[1])
    pool.give_back_all()
    assert not one.running and all(node.running for node in other.nodes)
    pool.close()


def test_a_stopped_cluster_leaves_nothing() -> None:
    one = Cluster("7.0", 1, wait=False)
    node = one.nodes[0]
    one.stop()
    assert not node.running and not node.folder.exists()


def test_the_key_of_a_command_is_found() -> None:
    assert key_of(("GET", b"k")) == b"k"
    assert key_of(("XGROUP", "CREATE", "k", "g", "0")) == b"k"
    assert key_of(("XREADGROUP", "GROUP", "g", "c", "COUNT", 5, "STREAMS", b"k", ">")) == b"k"
    assert key_of(("object", "encoding", 7)) == b"7"
