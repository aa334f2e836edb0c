"""The Sentinels of the tests agree on the master, and give its place to a replica when told or when it falls."""

from __future__ import annotations

import pytest

from tests.support.binaries import KINDS
from tests.support.nat import Nat
from tests.support.sentinels import SERVICE, Sentinels


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_takes_the_masters_place(kind: str) -> None:
    with Sentinels(kind, password="secret", sentinel_password="other") as group:
        first, [second] = group.master, group.replicas
        assert first.call("SET", "k", "v") == b"OK" and first.call("WAIT", 1, 5_000) == 1
        assert group.uri.count("127.0.0.1:") == 3 and group.uri.endswith(f"/{SERVICE}")
        assert group.sentinels[0].sees()["num-other-sentinels"] == "2"
        assert group.failover() is second
        assert group.master is second and second.call("GET", "k") == b"v"
        group.sentinels[0].password = "wrong"
        with pytest.raises(ConnectionError, match="WRONGPASS"):
            group.sentinels[0].connect()


def test_a_master_that_falls_is_replaced() -> None:
    with Sentinels("9.1", down_after_ms=1_000) as group:
        old = group.master
        new = group.failover(kill=True)
        assert not old.running and group.master is new is not old
        assert new.call("SET", "k", "v") == b"OK"


@pytest.mark.soak
def test_a_master_that_comes_back_becomes_a_replica() -> None:
    with Sentinels("7.0") as group:
        old = group.master
        new = group.failover(kill=True)
        new.call("SET", "k", "v")
        group.restart(old)
        assert group.replicas == [old] and old.call("GET", "k") == b"v"


def test_sentinels_behind_nat_tell_the_other_address_of_their_master() -> None:
    with Sentinels("7.0", replicas=0, sentinels=1) as group, Nat(group) as nat:
        with nat.proxies[1].connect() as connection:
            host, port = connection.must("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        assert f"{host.decode()}:{port.decode()}" == nat.told[0]
        assert nat.remaps[0] == f"10.99.0.1:6379={nat.proxies[0].address}"
