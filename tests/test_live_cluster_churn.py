"""Live copies of clusters under twenty thousand changes a second of all kinds, a flush among them."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ClustersFactory
from tests.support.binaries import KINDS
from tests.support.clusterchurn import ClusterChurn, flush_and_write_groups
from tests.support.live import assert_converged, feeds, followed, notify, wait_until
from tests.support.processes import VERIFIED, start_keyferry

RATE = 20_000
#: In every run: the keys, and the seconds of changes.
SHORT = (20_000, 4)
#: By scripts/soak.
LONG = (200_000, 60)


def cases() -> list:
    """Each version with each feed; short ones of two."""
    both = [(kind, feed) for kind in KINDS for feed in ("tracking", "notifications")]
    short = [("8.2", "tracking"), ("6.2", "notifications")]
    return [
        *(pytest.param(kind, feed, *SHORT, id=f"{kind}-{feed}-short") for kind, feed in short),
        *(pytest.param(kind, feed, *LONG, id=f"{kind}-{feed}", marks=pytest.mark.soak) for kind, feed in both),
    ]


@pytest.mark.parametrize(("version", "feed", "keys", "seconds"), cases())
def test_changes_of_all_masters_and_a_flush_of_one_are_followed(
    version: str, feed: str, keys: int, seconds: float, clusters: ClustersFactory
) -> None:
    source, target = clusters((version, 3, 0), (version, 3, 0))
    for node in source.masters:
        notify(node)
    churn = ClusterChurn(source, keys)
    churn.fill()
    line = ("replicate", source.uri, target.uri, "--live", "--idle-timeout", "500", "--json", "--feed", feed)
    with start_keyferry(*line, env=VERIFIED) as run:
        with churn.changing(RATE, seconds):
            wait_until(lambda: all(feeds(node) for node in source.masters), 60, "no feed at every master")
            time.sleep(seconds / 4)
            tag = churn.specs[source.masters[0].address][0].prefix.decode()
            flush_and_write_groups(source.masters[0], f"{tag}late")
        print(f"{churn.wrote.changes:,} changes, {churn.wrote.a_second:,.0f} a second")
        done = followed(run, 120)
    assert_converged(source, target, done, gaps=1)
    assert done.live["keys"] > RATE / 10
