"""Clusters as source and as target, found out from one address."""

from __future__ import annotations

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.processes import run_keyferry
from tests.support.servers import Server, free_port
from tests.support.summary import result_of
from tests.test_options import copied, write_strings

KINDS = ["6.2", "7.0", "8.2", "9.1"]


def node_with(server: ServerFactory, kind: str, last_slot: int = 16_383) -> Server:
    """A cluster of one node."""
    bus = [] if kind == "6.2" else ["--cluster-port", str(free_port())]
    node = server(kind, "--cluster-enabled", "yes", *bus, databases=1)
    assert node.call("CLUSTER", "ADDSLOTS", *range(last_slot + 1)) == b"OK"
    while last_slot == 16_383 and b"cluster_state:ok" not in node.call("CLUSTER", "INFO"):
        pass
    return node


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_all_types_go_into_a_cluster_and_out_of_it(kind: str, server: ServerFactory) -> None:
    source, middle, target = server(kind), node_with(server, kind), server(kind)
    fill(source, 2_000)
    write_strings(source, 25_000)  # enough to be cut
    for one, other in ((source, middle), (middle, target)):
        ran = copied(one, other, "--workers", "2", "--json")
        assert result_of(ran)["keys"] == source.call("DBSIZE")
        assert_equal(source, other)


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


def test_a_cluster_with_slots_that_nobody_owns_is_refused(server: ServerFactory) -> None:
    source, target = server("7.0"), node_with(server, "7.0", last_slot=16_000)
    write_strings(source, 10)
    ran = run_keyferry("replicate", source.uri, target.uri)
    assert ran.code == 7 and "slots without an owner: 16001-16383" in ran.err
    assert target.call("DBSIZE") == 0


def test_databases_that_a_cluster_does_not_have_are_refused_with_the_reason(server: ServerFactory) -> None:
    source, target = server("7.0"), node_with(server, "7.0")
    write_strings(source, 10, db=3)
    refused = run_keyferry("replicate", source.uri, target.uri, "--dbs", "all")
    assert refused.code == 6 and "db 3 cannot become db 3" in refused.err and "--db-map 3:0" in refused.err
    assert target.call("DBSIZE") == 0
    copied(source, target, "--db-map", "3:0")
    assert target.call("DBSIZE") == 10


def test_ping_says_what_it_is(server: ServerFactory) -> None:
    ran = run_keyferry("ping", "-c", node_with(server, "8.2").uri)
    assert ran.code == 0 and "cluster master" in ran.out
