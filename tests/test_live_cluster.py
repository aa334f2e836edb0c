"""Live copies of clusters: a feed for each master, slots that move, masters that fall."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from keyferry.partitioners.probe import MIN_KEYS
from tests.conftest import ClusterFactory, ClustersFactory, ServerFactory
from tests.support.clusternodes import slot_of
from tests.support.clusters import Cluster
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.live import TOLERANCE_MS, Followed, assert_converged, feeds, followed, notify, wait_until
from tests.support.live_clusters import start_live_cluster, written
from tests.support.servers import Server


def follow(source: Cluster, target: Cluster | Server, meanwhile: Callable[[], None], *words: str) -> Followed:
    """Copy live under writes; how that ended."""
    with start_live_cluster(source, target, *words) as run:
        with written(source):
            wait_until(lambda: all(feeds(node) for node in source.masters), what="no feed at every master")
            time.sleep(0.5)
            meanwhile()
            time.sleep(0.5)
        return followed(run)


@pytest.mark.parametrize(
    ("kind", "feed"),
    [
        ("7.0", "tracking"),
        pytest.param("6.2", "tracking", marks=pytest.mark.soak),
        pytest.param("8.2", "notifications", marks=pytest.mark.soak),
        ("9.1", "notifications"),
    ],
)
def test_a_cluster_is_followed_into_another_while_slots_move(kind: str, feed: str, clusters: ClustersFactory) -> None:
    source, target = clusters((kind, 2, 0), (kind, 3, 0))
    for node in source.masters:
        notify(node)
    fill(source, 500, tagged=0.3)

    def move() -> None:
        for number in range(8):
            source.move_slot(slot_of(b"key:%d" % number), source.masters[number % 2])

    done = follow(source, target, move, "--feed", feed)
    assert_converged(source, target, done, gaps=None)


def test_a_flush_of_one_master_is_a_gap_of_the_cluster(clusters: ClustersFactory, server: ServerFactory) -> None:
    (source,) = clusters(("7.0", 2, 0))
    target = server("7.0")
    fill(source, 500, tagged=0.3)
    done = follow(source, target, lambda: source.masters[0].call("FLUSHALL"))
    assert_converged(source, target, done, gaps=1)


@pytest.mark.soak
def test_a_master_that_falls_is_followed_to_its_successor(cluster: ClusterFactory, server: ServerFactory) -> None:
    source = cluster("7.0", 3, 1, fresh=True)
    target = server("7.0")
    fill(source, 300, tagged=0.3)
    with start_live_cluster(source, target, "--idle-timeout", "4s") as run:
        wait_until(lambda: target.call("DBSIZE") == source.dbsize())
        time.sleep(1)  # replicas have everything
        killed = source.kill_master(0)
        source.wait_for_failover(killed)
        with source.connect() as connection:
            connection.pipeline([(b"SET", b"after:%d" % number, b"1") for number in range(200)])
        done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert "the copy begins again" in done.ran.err
    assert_equal(source, target, ttl_tolerance_ms=TOLERANCE_MS)


@pytest.mark.soak
def test_slots_that_moved_are_proved_equal_where_they_are_now(clusters: ClustersFactory, server: ServerFactory) -> None:
    """Where cursors go by slot, the ranges of the plan are of the slots that each node had at its beginning."""
    (source,), target = clusters(("8.2", 2, 0)), server("8.2")
    with source.connect() as connection:
        connection.pipeline((b"SET", b"key:%d" % number, b"value") for number in range(2 * MIN_KEYS + 5_000))

    def move() -> None:
        for number in range(4):
            source.move_slot(slot_of(b"key:%d" % number), source.masters[number % 2])

    done = follow(source, target, move)
    assert_converged(source, target, done, gaps=None)
