"""Fixtures that every test may use: servers by kind, ended or emptied afterwards, with their logs shown on failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.binaries import MissingServer
from tests.support.certificates import Certificates
from tests.support.clusters import Cluster
from tests.support.pool import Pool
from tests.support.schedule import leave_out
from tests.support.servers import Server

#: Set in continuous integration, where a server that is not there is a failure.
CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

# How long an example takes tells of the machine. And what fails in continuous integration is to fail here as well.
settings.register_profile("tests", deadline=None, derandomize=CI, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

_SERVERS = pytest.StashKey[list[Server | Cluster]]()

ServerFactory = Callable[..., Server]
ClusterFactory = Callable[..., Cluster]
ClustersFactory = Callable[..., list[Cluster]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is not in this run as `soak`."""
    leave_out(items)


@pytest.fixture(scope="session")
def server_pool() -> Iterator[Pool]:
    """The servers that the tests of this process share."""
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, with certificates for servers on loopback and for a client."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(request: pytest.FixtureRequest, server_pool: Pool) -> Iterator[ServerFactory]:
    """`server(kind)`: an empty server, shared with later tests; with `fresh` or options of Server: the test's own."""
    own: list[Server] = []
    given = request.node.stash.setdefault(_SERVERS, [])

    def make(kind: str, *extra: str, fresh: bool = False, **options: Any) -> Server:
        if fresh or extra or options:
            one = Server(kind, *extra, **options)
            own.append(one)
        else:
            one = server_pool.take(kind)
        given.append(one)
        return one

    yield make
    for one in own:
        one.stop()
    server_pool.give_back_all()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, server_pool: Pool) -> Iterator[ClusterFactory]:
    """`cluster(kind, masters, replicas)`: an empty cluster, shared with later tests; else as `server`.

    One whose slots, masters or settings a test changes is not handed out again: a start costs two seconds.
    """
    own: list[Cluster] = []
    given = request.node.stash.setdefault(_SERVERS, [])

    def make(
        kind: str, masters: int = 3, replicas: int = 0, *extra: str, fresh: bool = False, **options: Any
    ) -> Cluster:
        if fresh or extra or options:
            one = Cluster(kind, masters, replicas, *extra, **options)
            own.append(one)
        else:
            one = server_pool.take_clusters((kind, masters, replicas))[0]
        given.append(one)
        return one

    yield make
    for one in own:
        one.stop()
    server_pool.give_back_all()


@pytest.fixture
def clusters(request: pytest.FixtureRequest, server_pool: Pool) -> Iterator[ClustersFactory]:
    """`clusters((kind, masters, replicas), …)`: several shared clusters; those that must start do so at once."""
    given = request.node.stash.setdefault(_SERVERS, [])

    def make(*shapes: tuple[str, int, int]) -> list[Cluster]:
        taken = server_pool.take_clusters(*shapes)
        given.extend(taken)
        return taken

    yield make
    server_pool.give_back_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test whose server is not installed is skipped, but fails where CI=true."""
    try:
        return (yield)
    except MissingServer as missing:
        if CI:
            raise
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Put the ends of the logs of a failed test's servers below its report."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        for one in item.stash.get(_SERVERS, []):
            report.sections.append(("server log", one.log_tail()))
    return report  # type: ignore[return-value]
