"""Fixtures that every test may use: servers by kind, ended or emptied afterwards, with their logs shown on failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.binaries import KINDS, MissingServer
from tests.support.certificates import Certificates
from tests.support.pool import Pool
from tests.support.servers import Server

#: Set in continuous integration, where a server that is not there is a failure.
CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

_SERVERS = pytest.StashKey[list[Server]]()

ServerFactory = Callable[..., Server]


#: Tests that are made on each version of the server, but in one run only on two of the four, by turns: the run is to
#: end within 20 minutes. `scripts/soak` makes the others.
BY_TURNS = ("test_atomic", "test_conflicts", "test_same", "test_forbidden_keys", "test_churn", "test_churn_command")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is not this run's turn as `soak`: each test of a file begins with another version."""
    turns: dict[str, int] = {}
    for item in items:
        call = getattr(item, "callspec", None)
        if item.path.stem not in BY_TURNS or call is None or call.params.get("kind") not in KINDS:
            continue
        rest = sorted((name, str(value)) for name, value in call.params.items() if name != "kind")
        turn = turns.setdefault(f"{item.path.stem} {item.originalname} {rest}", len(turns))  # type: ignore[attr-defined]
        if (KINDS.index(call.params["kind"]) + turn) % 2:
            item.add_marker(pytest.mark.soak)


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
