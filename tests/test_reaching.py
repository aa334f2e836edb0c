"""Reaching servers: where one of several is refused or not reached, connections to the others are given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from keyferry.logs import ERROR, Log
from keyferry.reaching_side import reach_all
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import KeyferryError, RefusedError, StateError, UsageError
from tests.conftest import ServerFactory
from tests.support.live import wait_until
from tests.support.replication import MASTER, follow
from tests.support.servers import Server, free_port


def ours(server: Server) -> list[str]:
    return [line for line in server.call("CLIENT", "LIST").decode().splitlines() if " name=keyferry" in line]


def assert_given_back(
    kind: type[KeyferryError], seeds: Sequence[Endpoint], side: str, *servers: Server
) -> pytest.ExceptionInfo[Any]:
    """The error is raised, and while somebody holds it, with all its frames, no connection of ours is left."""
    with pytest.raises(kind) as raised:
        reach_all(seeds, side, 0.0, False, Log(ERROR), may_change=False)
    for server in servers:
        wait_until(lambda: not ours(server), what=f"{ours(server)} left")
    return raised


def test_no_connection_is_left_to_servers_that_are_refused(server: ServerFactory) -> None:
    one = server("7.0")
    assert_given_back(RefusedError, [Endpoint(port=one.port, cluster=True)], "source", one)
    other = ("127.0.0.1", server("6.2").port)
    named = Endpoint(port=one.port, seeds=(other,))
    assert_given_back(UsageError, [named, named.at(*other)], "source", one)


def test_no_connection_is_left_to_a_replica_that_cannot_be_written_to_or_whose_master_has_none(
    server: ServerFactory,
) -> None:
    master, replica = server("7.0", *MASTER), server("7.0", fresh=True)
    follow(replica, master)
    assert_given_back(StateError, [Endpoint(port=replica.port)], "target", replica)
    replica.call("REPLICAOF", "127.0.0.1", free_port())
    wait_until(lambda: "slave0" not in master.info("replication"))
    reading = Endpoint(port=master.port, read_from="replica")
    assert_given_back(StateError, [reading], "source", master, replica)
