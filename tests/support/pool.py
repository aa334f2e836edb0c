"""Plain servers, and clusters of them, that tests share one after the other, so that starts cost no time."""

from __future__ import annotations

from dataclasses import dataclass, field

from .clusters import Cluster
from .servers import Server
from .wire import ServerError


@dataclass
class _Shared:
    server: Server
    first: tuple[object, ...]  # what `_settings` said after the start
    taken: bool = False


#: What a shared cluster is asked by: kind, masters, replicas of each.
Shape = tuple[str, int, int]


@dataclass
class _SharedCluster:
    cluster: Cluster
    first: tuple[object, ...]
    taken: bool = False


@dataclass
class Pool:
    """Hands out empty servers of a kind; a server that a test has changed for good is ended, not handed out again."""

    _shared: list[_Shared] = field(default_factory=list)
    _clusters: list[_SharedCluster] = field(default_factory=list)

    def take(self, kind: str) -> Server:
        """An empty server in its first state that nobody else has. Raises as Server does."""
        for shared in self._shared:
            if not shared.taken and shared.server.kind == kind:
                shared.taken = True
                return shared.server
        server = Server(kind)
        self._shared.append(_Shared(server, _settings(server), taken=True))
        return server

    def take_clusters(self, *shapes: Shape) -> list[Cluster]:
        """Empty clusters in their first state that nobody else has; new ones start at the same time."""
        taken = [self._free_cluster(shape) or Cluster(*shape, wait=False) for shape in shapes]
        for cluster in taken:
            if not any(shared.cluster is cluster for shared in self._clusters):
                cluster.wait_until_ready()
                self._clusters.append(_SharedCluster(cluster, _cluster_settings(cluster), taken=True))
        return taken

    def _free_cluster(self, shape: Shape) -> Cluster | None:
        for shared in self._clusters:
            if not shared.taken and shared.cluster.shape == shape:
                shared.taken = True
                return shared.cluster
        return None

    def give_back_all(self) -> None:
        """Empty every server and cluster that is taken, and end those that cannot be made as they were."""
        for shared in list(self._shared):
            if shared.taken and not _cleaned(shared):
                shared.server.stop()
                self._shared.remove(shared)
            shared.taken = False
        for one in list(self._clusters):
            if one.taken and not _cleaned_cluster(one):
                one.cluster.stop()
                self._clusters.remove(one)
            one.taken = False

    def close(self) -> None:
        """End all servers."""
        for shared in self._shared:
            shared.server.stop()
        for one in self._clusters:
            one.cluster.stop()
        self._shared.clear()
        self._clusters.clear()


def _settings(server: Server) -> tuple[object, ...]:
    """Whatever a test may change that FLUSHALL does not undo: the process, its settings, its users."""
    return (server.run_id, *(repr(server.call(*words)) for words in (("CONFIG", "GET", "*"), ("ACL", "LIST"))))


def _cleaned(shared: _Shared) -> bool:
    server = shared.server
    if not server.running:
        return False
    server.resume()
    try:
        return _emptied(server) and _settings(server) == shared.first
    except (OSError, AssertionError):
        return False


def _emptied(server: Server) -> bool:
    for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH"), ("CONFIG", "RESETSTAT")):
        reply = server.call(*words)
        if isinstance(reply, ServerError) and words[0] != "FUNCTION":  # 6.2 has no functions
            return False
    return True


def _cluster_settings(cluster: Cluster) -> tuple[object, ...]:
    slots = [seen for node in cluster.nodes for seen in cluster.view(node)]
    who = sorted((seen.id, seen.master, sorted(seen.slots), seen.open) for seen in slots)
    return (who, *(_settings(node) for node in cluster.nodes))


def _cleaned_cluster(shared: _SharedCluster) -> bool:
    cluster = shared.cluster
    for node in cluster.running:
        node.resume()
    try:
        whole = cluster.running == cluster.nodes and all(_emptied(master) for master in cluster.masters)
        return whole and _cluster_settings(cluster) == shared.first
    except (OSError, AssertionError):
        return False
