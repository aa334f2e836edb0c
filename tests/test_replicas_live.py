"""Live copies from replicas: feed and values come from the same process, and "converged" is about the master."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ClusterFactory, ServerFactory
from tests.support.clusternodes import slot_of
from tests.support.clusters import Cluster
from tests.support.compare import assert_equal, differences
from tests.support.filling import write_strings
from tests.support.live import (
    TOLERANCE_MS,
    assert_converged,
    end_writer,
    feeds,
    followed,
    generated,
    start_writer,
    wait_for_writes,
    wait_until,
)
from tests.support.live_clusters import written
from tests.support.processes import VERIFIED, Run, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.replication import MASTER, follow, forget_reads, link_of, reads_of, wait_until_in_step


def start_live(source: str, target: str, *words: str) -> Run:
    idle = () if "--idle-timeout" in words else ("--idle-timeout", "1s")
    line = ("-u", source, "--read-from", "replica", "replicate", "-u", target, "--live", "--json")
    return start_keyferry(*line, *idle, *words, env=VERIFIED)


@pytest.mark.parametrize(("kind", "feed"), [("7.0", "tracking"), ("9.1", "notifications")])
def test_changes_of_a_master_are_followed_at_its_replica(kind: str, feed: str, server: ServerFactory) -> None:
    master, replica, target = server(kind, *MASTER), server(kind, fresh=True), server(kind)
    generated(master, 500)
    follow(replica, master)
    replica.call("CONFIG", "SET", "notify-keyspace-events", "KA")
    forget_reads(master, replica)
    with start_writer(master, 500, 500) as writer:
        with start_live(master.uri, target.uri, "--feed", feed) as run:
            wait_until(lambda: bool(feeds(replica)), what="no feed at the replica")
            assert feeds(master) == []
            wait_for_writes(master)
            time.sleep(0.5)
            end_writer(writer)
            done = followed(run)
    assert {"mget", "dump"} <= reads_of(replica) and not {"mget", "dump", "scan"} & reads_of(master)
    # What of a stream's groups is not told to replicas, they do not have.
    assert_converged(replica, target, done)
    assert all("groups" in line for line in differences(master, target, ttl_tolerance_ms=TOLERANCE_MS))


def test_a_replica_that_is_behind_does_not_let_a_copy_converge(server: ServerFactory) -> None:
    """It is quiet, as if nothing was written any more; and its link looks well for a minute."""
    master, replica, target = server("7.0", *MASTER), server("7.0", fresh=True), server("7.0")
    write_strings(master, 100)
    with FaultProxy(master.port, watch=False) as proxy:
        assert replica.call("REPLICAOF", "127.0.0.1", proxy.port) == b"OK"
        wait_until(lambda: link_of(replica) == "up")
        wait_until_in_step(master, replica)
        with start_live(master.uri, target.uri, "--idle-timeout", "3s") as run:
            wait_until(lambda: target.call("DBSIZE") == 100)
            proxy.set("stall replies after 0 bytes")
            master.call("SET", "late", "1")
            run.wait_for_text("verify begins")
            time.sleep(1.5)
            assert run.running and target.call("EXISTS", "late") == 0
            proxy.set("")
            proxy.release()
            done = followed(run)
    assert done.ran.code == 0 and done.live["converged"], done.ran.err
    assert target.call("GET", "late") == b"1"


def test_a_replica_of_a_replica_that_is_behind_does_not_let_a_copy_converge(server: ServerFactory) -> None:
    """It has all that the one above it has, which is not all that was written."""
    master, between = (server("7.0", *MASTER, fresh=True) for _ in range(2))
    replica, target = server("7.0", fresh=True), server("7.0")
    write_strings(master, 100)
    with FaultProxy(master.port, watch=False) as proxy:
        assert between.call("REPLICAOF", "127.0.0.1", proxy.port) == b"OK"
        wait_until(lambda: link_of(between) == "up")
        wait_until_in_step(master, between)
        follow(replica, between)
        with start_live(replica.uri, target.uri, "--idle-timeout", "3s") as run:
            wait_until(lambda: target.call("DBSIZE") == 100)
            proxy.set("stall replies after 0 bytes")
            master.call("SET", "late", "1")
            run.wait_for_text("verify begins")
            time.sleep(1.5)
            assert run.running and target.call("EXISTS", "late") == 0
            proxy.set("")
            proxy.release()
            done = followed(run)
    assert done.ran.code == 0 and done.live["converged"], done.ran.err
    assert done.told["replicas"][0]["lag_bytes_most"] > 0
    assert target.call("GET", "late") == b"1"


@pytest.mark.parametrize("kind", ["7.0", pytest.param("8.2", marks=pytest.mark.soak)])
def test_a_cluster_is_followed_at_its_replicas_while_slots_move(
    kind: str, cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = cluster(kind, 2, 1), server(kind)
    generated_cluster(source)
    replicas = [source.replicas_of(master)[0] for master in source.masters]
    for master, replica in zip(source.masters, replicas, strict=True):
        wait_until_in_step(master, replica)
    with start_live(source.uri, target.uri) as run:
        with written(source):
            wait_until(lambda: all(feeds(replica) for replica in replicas), what="no feed at every replica")
            assert not any(feeds(master) for master in source.masters)
            for number in range(6):
                source.move_slot(slot_of(b"key:%d" % number), source.masters[number % 2])
        done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["converged"]
    assert_equal(source, target, ttl_tolerance_ms=TOLERANCE_MS)


def generated_cluster(source: Cluster) -> None:
    with source.connect() as connection:
        connection.pipeline((b"SET", b"key:%d" % n, b"0") for n in range(2_000))
