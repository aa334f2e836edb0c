"""Fixtures that every test may use: servers by kind, ended or emptied afterwards, with their logs shown on failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.binaries import MissingServer
from tests.support.pool import Pool
from tests.support.servers import Server

#: Set in continuous integration, where a server that is not there is a failure.
CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

_SERVERS = pytest.StashKey[list[Server]]()

ServerFactory = Callable[..., Server]


@pytest.fixture(scope="session")
def server_pool() -> Iterator[Pool]:
    """The servers that the tests of this process share."""
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, server_pool: Pool) -> Iterator[ServerFactory]:
    """`server(kind)`: an empty server, shared with later tests; with `fresh` or options of Server: the test's own."""
    given: list[Server] = []
    own: list[Server] = []
    request.node.stash[_SERVERS] = given

    def make(kind: str, *extra: str, fresh: bool = False, **options: Any) -> Server:
        if fresh or extra or options:
            given.append(Server(kind, *extra, **options))
            own.append(given[-1])
        else:
            given.append(server_pool.take(kind))
        return given[-1]

    yield make
    for one in own:
        one.stop()
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
