"""Nodes behind the tests' NAT tell addresses where nobody is, and are reached through its proxies."""

from __future__ import annotations

import pytest

from tests.conftest import ClusterFactory
from tests.support.binaries import KINDS
from tests.support.certificates import Certificates
from tests.support.clusternodes import slot_of
from tests.support.nat import Nat, announce, endpoints
from tests.support.servers import free_port
from tests.support.wire import ServerError


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_behind_nat_tell_other_addresses(cluster: ClusterFactory, kind: str) -> None:
    one = cluster(kind)
    away = next(key for key in ("a", "b", "c", "d") if one.owner(key) is not one.nodes[0])
    with Nat(one) as nat, nat.proxies[0].connect() as connection:
        assert endpoints(connection) == {("10.99.0.1", 6379), ("10.99.0.2", 6379), ("10.99.0.3", 6379)}
        moved = str(connection.call("GET", away)).split()[2]
        reached = dict(pair.split("=") for pair in nat.remaps)[moved]
        assert reached == nat.proxies[one.nodes.index(one.owner(away))].address
        assert nat.uri == f"redis://{nat.proxies[0].address}" and nat.connections == [1, 0, 0]
    with Nat(one, names=["n1.invalid", "n2.invalid", "n3.invalid"]) as nat, nat.proxies[2].connect() as connection:
        assert endpoints(connection) == {("n1.invalid", 6379), ("n2.invalid", 6379), ("n3.invalid", 6379)}


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_nodes_may_tell_other_ports_and_names_themselves(cluster: ClusterFactory, kind: str) -> None:
    one = cluster(kind, 3, fresh=True)
    ports, names = [free_port() for _ in one.nodes], ["n1.invalid", "n2.invalid", "n3.invalid"]
    announce(one, ports=ports, names=names)
    away = next(key for key in ("a", "b", "c", "d") if one.owner(key) is not one.nodes[0])
    at = one.nodes.index(one.owner(away))
    moved = one.nodes[0].call("SET", away, "v")
    assert isinstance(moved, ServerError) and str(moved).split()[2] == f"{names[at]}:{ports[at]}"
    assert one.call("SET", away, "v") == b"OK"
    one.move_slot(slot_of(away), one.nodes[0], leave_open=True)
    assert one.call("GET", away) == b"v"  # by ASK, which names the port that is told


def test_a_cluster_with_certificates_uses_them_and_tells_their_ports(
    cluster: ClusterFactory, certificates: Certificates
) -> None:
    one = cluster("7.0", 2, 1, tls=certificates.words(mutual=True))
    assert one.call("SET", "k", "v") == b"OK"
    with one.nodes[0].connect() as connection:
        assert endpoints(connection) <= {(node.host, node.port) for node in one.nodes}
    client = one.nodes[0].client
    assert client.config_get("tls-cluster") == {"tls-cluster": "yes"}
    assert {seen.connected for seen in one.view()} == {True}
