"""Fixtures that every test may use: servers by kind, ended or emptied afterwards, with their logs shown on failure."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from tests.support.binaries import KINDS, MissingServer
from tests.support.certificates import Certificates
from tests.support.clusters import Cluster
from tests.support.pool import Pool
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


#: The run is to end well within 20 minutes. So a test that is made on several versions of the server is made on half of
#: them in one run, by turns; `scripts/soak` makes the others. In these files every version is in every run: they are
#: about what the others take for granted.
EVERY_VERSION = ("test_support_servers", "test_support_dataset", "test_support_monitor")

#: Of these files, or single tests, with many cases only a part is in one run, for the same reason: one case of so many.
IN_PART = {
    "test_matrix": 10,
    "test_rights": 6,
    "test_atomic": 3,
    "test_changing": 3,
    "test_churn": 2,
    "test_churn_command": 3,
    "test_cluster::test_all_types_go_from_a_server_through_clusters_and_back": 2,
    "test_cluster::test_keys_go_their_way_however_they_are_read_and_written": 2,
    "test_compare": 3,
    "test_conflicts": 3,
    "test_docs::test_a_copy_sends_only_what_is_documented": 3,
    "test_docs::test_every_example_runs": 3,
    "test_docs::test_with_other_options_only_what_is_documented_is_sent_either": 6,
    "test_dry_run": 2,
    "test_elements::test_small_keys_of_all_types_are_compared_without_a_look_at_any": 2,
    "test_errors::test_wrong_usage_connects_to_nothing": 3,
    "test_filters_model": 3,
    "test_forbidden_keys": 2,
    "test_managed": 2,
    "test_mutations": 2,
    "test_rights_live": 3,
    "test_rules::test_a_key_that_expires_while_it_is_copied_never_becomes_immortal": 2,
    "test_secrets": 3,
    "test_weather": 2,
    "test_moving": 2,
    "test_demo": 4,
    "test_live": 2,
    "test_live_feeds": 2,
    "test_live_removals": 2,
    "test_signals": 2,
    "test_support_clusters": 2,
    "test_support_compare": 2,
    "test_support_faults": 2,
    "test_synth_servers": 2,
    "test_tls": 2,
    "test_undo": 3,
    "test_options_pace": 3,
    "test_options_verify": 2,
    "test_opaque_cursors": 2,
    "test_options_copy": 2,
    "test_options_filters": 2,
    "test_options_names": 2,
    "test_output": 2,
    "test_replicas_changing": 2,
    "test_between_phases": 2,
    "test_errors::test_each_error_has_its_code_one_line_and_a_hint": 2,
    "test_filters_target": 2,
    "test_live_interleavings": 2,
    "test_live_refusals": 2,
    "test_rules_proof": 2,
    "test_splicing": 2,
    "test_undo_left": 2,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is not in this run as `soak`."""
    _leave_versions_out(items)
    _leave_cases_out(items)


def _leave_versions_out(items: list[pytest.Item]) -> None:
    """Of tests that are made on several: each test of a file begins with another version."""
    alike: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        call = getattr(item, "callspec", None)
        made_on_each = call and call.params.get("kind") in KINDS and item.path.stem not in EVERY_VERSION
        if made_on_each and not item.get_closest_marker("soak"):
            rest = sorted((name, str(value)) for name, value in call.params.items() if name != "kind")
            alike.setdefault((item.path.stem, f"{item.originalname} {rest}"), []).append(item)  # type: ignore[attr-defined]
    turns: Counter[str] = Counter()
    for (file, _), cases in alike.items():
        turns[file] += 1
        for item in cases[turns[file] % 2 :: 2][: len(cases) // 2]:
            item.add_marker(pytest.mark.soak)


def _leave_cases_out(items: list[pytest.Item]) -> None:
    """Of IN_PART: cases in the order of a checksum of their names, so that no parameter is preferred."""
    cases: dict[tuple[int, str], list[pytest.Item]] = {}
    for item in items:
        name = f"{item.path.stem}::{getattr(item, 'originalname', '')}"
        part = IN_PART.get(item.path.stem) or IN_PART.get(name)
        if part and hasattr(item, "callspec") and not item.get_closest_marker("soak"):
            cases.setdefault((part, name), []).append(item)
    for (part, _), alike in cases.items():
        alike.sort(key=lambda item: crc32(item.name.encode()))
        for item in alike[-(-len(alike) // part) :]:
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
