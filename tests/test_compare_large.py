"""Two million keys compared in few and in many ranges, on servers and clusters: see `scripts/soak compare`."""

from __future__ import annotations

import pytest

import keyferry
from tests.conftest import ClustersFactory, ServerFactory
from tests.support.clusters import Cluster
from tests.support.processes import run_keyferry
from tests.support.servers import Server

KEYS = 2_000_000
RANGES = (1, 8, 64, 500)
DATA = ("--types", "string=9,hash=1", "--size", "10-20", "--elements", "1-3")


def fill(source: Server) -> None:
    ran = run_keyferry("generate", source.uri, "--keys", str(KEYS), *DATA, timeout=600)
    assert ran.code == 0, ran.err


def copy(source: Server | Cluster, target: Server | Cluster) -> None:
    ran = run_keyferry("replicate", source.uri, target.uri, "--no-verify", timeout=600)
    assert ran.code == 0, ran.err


def assert_counted(source: Server | Cluster, target: Server | Cluster, extra: int) -> None:
    """In any number of ranges as many keys are equal as there are; `extra` ones have the target scanned as well."""
    for ranges in RANGES:
        verdict = keyferry.compare(source.uri, target.uri, ranges=ranges, workers=2).verdict
        assert verdict is not None and verdict.exact
        print(f"{ranges} ranges: {verdict.line}, {verdict.target_keys:,} looked up, {verdict.seconds:.1f} s")
        assert verdict.line == f"OK:{KEYS} V:0 >:0 <:{extra} T:0"
        assert verdict.target_keys == (KEYS + extra if extra else 0)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_two_million_keys_are_counted_to_the_key(kind: str, server: ServerFactory, clusters: ClustersFactory) -> None:
    first, second = server(kind), server(kind)
    fill(first)
    copy(first, second)
    assert first.call("DBSIZE") == second.call("DBSIZE") == KEYS
    assert_counted(first, second, 0)
    second.call("SET", "extra", "1")
    assert_counted(first, second, 1)
    second.call("FLUSHALL")
    three, two = clusters((kind, 3, 0), (kind, 2, 0))
    copy(first, three)
    first.call("FLUSHALL")
    copy(three, two)
    assert three.dbsize() == two.dbsize() == KEYS
    assert_counted(three, two, 0)
    two.call("SET", "extra", "1", key="extra")
    assert_counted(three, two, 1)
