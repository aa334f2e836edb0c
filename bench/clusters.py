"""Clusters, as far as a round asks a server: a round copies one to another as it does with single servers."""

from __future__ import annotations

import subprocess
from typing import Any

from bench.data import Dataset, Loaded, load
from bench.peers import keyferry
from tests.support.clusters import Cluster
from tests.support.servers import Server

#: Masters of each side.
MASTERS = 3


class Whole:
    """A cluster with the face of a server: its port is a node's, its figures are those of all nodes together."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.port = cluster.nodes[0].port

    def call(self, *words: str) -> Any:
        """A command to every node: the sum of numbers, else the first reply."""
        replies = self.cluster.call_all(*words)
        return sum(replies) if isinstance(replies[0], int) else replies[0]

    def info(self, section: str) -> dict[str, str]:
        """INFO cpu of all nodes, added up."""
        told = [node.info(section) for node in self.cluster.nodes]
        names = ("used_cpu_user", "used_cpu_sys")
        return {name: str(sum(float(one[name]) for one in told)) for name in names}

    def load(self, dataset: Dataset, keys: int) -> Loaded:
        """Write a data set to the empty cluster, by way of a server: `generate` writes to single servers.

        Raises CalledProcessError when keyferry fails, AssertionError when not all has arrived.
        """
        with Server(self.cluster.kind) as server:
            loaded = load(dataset, keys, server.port, keyferry())
            words = [*keyferry(), "-p", str(server.port), "replicate", "-p", str(self.port), "--no-verify", "--quiet"]
            subprocess.run(words, check=True, capture_output=True, text=True)
        assert self.call("DBSIZE") == loaded.keys
        return loaded
