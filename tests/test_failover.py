"""Masters that die in the middle of a copy: a replica takes over, and no key is missing afterwards."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ClusterFactory
from tests.support.clusters import Cluster
from tests.support.compare import assert_equal
from tests.support.filling import write_numbers
from tests.support.live import wait_until
from tests.support.processes import VERIFIED, Result, run_keyferry
from tests.support.summary import result_of

KEYS = 40_000
A_SCAN = 100  # keys that one SCAN is asked for


def copied_while(
    source: Cluster,
    target: Cluster,
    happens: Callable[[], object],
    *options: str,
    rate: int = 8_000,
    after: int = 1_000,
) -> Result:
    """A copy of so many keys a second; something happens after so many keys."""
    words = ("replicate", source.uri, target.uri, "--workers", "2", "--rate", str(rate), *options)
    with ThreadPoolExecutor(1) as others:
        ran = others.submit(run_keyferry, *words, env=VERIFIED, timeout=100)
        wait_until(lambda: ran.done() or target.dbsize() > after)
        assert not ran.done()
        happens()
        return ran.result()


#: Each takes a quarter of a minute: two in continuous integration, the others by soak.
PAIRS = [("source", "8.2"), ("target", "7.0"), ("source", "7.0"), ("target", "9.1")]


@pytest.mark.parametrize(
    ("side", "kind"), [pytest.param(*pair, marks=[pytest.mark.soak] if at > 1 else []) for at, pair in enumerate(PAIRS)]
)
def test_a_killed_master_is_followed_by_its_replica(side: str, kind: str, cluster: ClusterFactory) -> None:
    source = cluster(kind, 3, int(side == "source"), fresh=side == "source")
    target = cluster(kind, 3, int(side == "target"), fresh=side == "target")
    write_numbers(source, KEYS)
    failing = source if side == "source" else target
    others = source.masters[1:]
    before = sum(node.calls("scan") for node in others)
    ran = copied_while(source, target, lambda: failing.kill_master(0), "--json", "--scan-count", str(A_SCAN))
    assert ran.code == 0, ran.err
    assert result_of(ran)["keys"] == KEYS and result_of(ran)["exact"]
    assert_equal(source, target)
    if side == "source":
        # The others are read once for the copy, and once for the verification; once more, at most, what was under way
        # when the master fell; the last scan of a range is a short one.
        keys = sum(node.client.dbsize() for node in others)
        assert sum(node.calls("scan") for node in others) - before < 3.25 * keys / A_SCAN
        assert "what was copied of 2 nodes stands; " in ran.err
    else:
        assert "the copy begins again" in ran.err


@pytest.mark.parametrize("side", ["source", pytest.param("target", marks=pytest.mark.soak)])
def test_a_master_that_changes_places_with_its_replica(side: str, cluster: ClusterFactory) -> None:
    source = cluster("8.2", 3, int(side == "source"), fresh=side == "source")
    target = cluster("8.2", 3, int(side == "target"), fresh=side == "target")
    write_numbers(source, KEYS)
    failing = source if side == "source" else target
    ran = copied_while(source, target, lambda: failing.fail_over(failing.masters[1]))
    assert ran.code == 0, ran.err
    assert_equal(source, target)


@pytest.mark.parametrize("kind", ["8.2", pytest.param("7.0", marks=pytest.mark.soak)])
def test_keys_that_were_read_and_not_written_are_not_taken_for_done(kind: str, cluster: ClusterFactory) -> None:
    """One SCAN brings all that a master has; the rate is so low that most is not written when another master falls."""
    source, target, keys = cluster(kind, 3, 1, fresh=True), cluster(kind, 3), 1_200
    write_numbers(source, keys)
    ran = copied_while(source, target, lambda: source.kill_master(0), "--no-verify", "--json", rate=80, after=80)
    assert ran.code == 0, ran.err
    assert "what was copied of 2 nodes stands; " in ran.err
    assert_equal(source, target)
    assert result_of(ran)["keys"] == keys
