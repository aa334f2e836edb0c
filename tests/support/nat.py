"""Clusters and Sentinels whose nodes tell addresses that clients cannot use, as behind NAT or in containers.

Two ways, for tests of `--remap` and of host names:

    with Nat(cluster) as nat:          # every node behind a proxy that replaces the addresses in replies
        nat.uri, nat.remaps            # redis://127.0.0.1:PORT, ["10.99.0.1:6379=127.0.0.1:PORT", …]

    announce(cluster, ports=[…])       # 7.0 and later: the nodes themselves tell other ports, or names
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from .clusternodes import Node
from .clusters import Cluster
from .proxy import FaultProxy
from .sentinels import Sentinels
from .servers import Server
from .wire import Connection

#: So long all nodes may take to tell what one of them announces, seconds.
TOLD_S = 30.0


class Nat:
    """Proxies in front of all nodes. A client is told 10.99.0.N:6379, where nobody is, or the `names` given.

    `names` has a host for each node, e.g. node1.invalid; the servers of Sentinels come first, then the Sentinels.
    """

    def __init__(self, behind: Cluster | Sentinels, names: Sequence[str] = ()) -> None:
        self._nodes: list[Server] = (
            list(behind.nodes) if isinstance(behind, Cluster) else [*behind.servers, *behind.sentinels]
        )
        self.told = [f"{names[at] if names else f'10.99.0.{at + 1}'}:6379" for at in range(len(self._nodes))]
        self.proxies: list[FaultProxy] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        pairs = ",".join(f"{node.address}={told}" for node, told in zip(self._nodes, self.told, strict=True))
        with ExitStack() as stack:
            for node in self._nodes:
                self.proxies.append(stack.enter_context(FaultProxy(node.port, f"translate {pairs}")))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def remaps(self) -> list[str]:
        """For each node TOLD=REACHED."""
        return [f"{told}={proxy.address}" for told, proxy in zip(self.told, self.proxies, strict=True)]

    @property
    def uri(self) -> str:
        """redis://host:port of the first node's proxy."""
        return f"redis://{self.proxies[0].address}"

    @property
    def connections(self) -> list[int]:
        """How many connections came through each proxy so far."""
        return [proxy.counters.connections for proxy in self.proxies]


def announce(cluster: Cluster, *, ports: Sequence[int] = (), names: Sequence[str] = ()) -> None:
    """Let the nodes tell other ports, and host names instead of addresses; return once all tell it of all.

    Needs 7.0. Between themselves, nodes use the bus, which stays where it is; but replicas lose a master that tells
    another port.
    """
    for at, node in enumerate(cluster.nodes):
        if ports:
            node.client.config_set("cluster-announce-port", ports[at])
        if names:
            node.client.config_set("cluster-announce-hostname", names[at])
            node.client.config_set("cluster-preferred-endpoint-type", "hostname")
    hosts = names or [node.host for node in cluster.nodes]
    wanted = set(zip(hosts, ports or [node.port for node in cluster.nodes], strict=True))
    deadline = time.monotonic() + TOLD_S
    while not all(_told(node) <= wanted for node in cluster.nodes):  # 7.0 leaves out replicas that never got a write
        assert time.monotonic() < deadline, f"not all nodes tell {wanted}"
        time.sleep(0.05)


def _told(node: Node) -> set[tuple[str, int]]:
    with node.connect(timeout_s=10) as connection:
        return endpoints(connection)


def endpoints(connection: Connection) -> set[tuple[str, int]]:
    """(host, port) of all nodes, as CLUSTER SLOTS tells them."""
    slots = connection.must("CLUSTER", "SLOTS")
    return {(node[0].decode(), node[1]) for _first, _last, *nodes in slots for node in nodes}
