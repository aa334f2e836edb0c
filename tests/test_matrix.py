"""Every pair of versions, every method, one to eight workers: all types and encodings arrive, and nothing else.

In every run of the suite: some of the smallest set of cases in which each version pair meets each method and each
number of workers, and each method each number of workers. `scripts/soak matrix` runs all there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of

PAIRS = (
    *(("6.2", "6.2"), ("7.0", "7.0"), ("8.2", "8.2"), ("9.1", "9.1")),
    *(("6.2", "7.0"), ("6.2", "8.2"), ("7.0", "8.2"), ("6.2", "9.1"), ("7.0", "9.1")),
)
METHODS = ("auto", "native", "dump")
WORKERS = (1, 2, 4, 8)
#: More than the probe needs, so that rings are really split.
KEYS = 25_000
HUGE = ("huge string", "huge hash")

Case = tuple[tuple[str, str], str, int]
ALL = tuple(product(PAIRS, METHODS, WORKERS))


def pairwise(cases: tuple[Case, ...]) -> list[Case]:
    """Cases in which any two values that occur together in `cases` do so at least once; greedy: nearly the fewest."""

    def meetings(case: Case) -> set[tuple[object, object]]:
        pair, method, workers = case
        return {(pair, method), (pair, workers), (method, workers)}

    open_ = set().union(*(meetings(case) for case in cases))
    chosen = []
    while open_:
        best = max(cases, key=lambda case: len(meetings(case) & open_))
        chosen.append(best)
        open_ -= meetings(best)
    return chosen


CHOSEN = pairwise(ALL)


@pytest.fixture(scope="module")
def sources() -> Iterator[dict[str, Server]]:
    """One full server of each kind, filled when first asked for, and only read by the tests."""
    running: dict[str, Server] = {}
    yield running
    for server in running.values():
        server.stop()


def source_of(kind: str, running: dict[str, Server]) -> Server:
    if kind not in running:
        running[kind] = Server(kind)
        fill(running[kind], KEYS, seed=7, extras=HUGE)
    return running[kind]


def case_id(case: Case) -> str:
    (source, target), method, workers = case
    return f"{source}-to-{target}-{method}-{workers}"


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case_id(case), marks=() if case in CHOSEN else pytest.mark.soak) for case in ALL],
)
@pytest.mark.timeout(300)
def test_all_types_and_encodings_arrive_equal(case: Case, sources: dict[str, Server], server: ServerFactory) -> None:
    (source_kind, target_kind), method, workers = case
    source, target = source_of(source_kind, sources), server(target_kind)
    words = ("--method", method, "--workers", str(workers), "--json")
    ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), *words, timeout=200)
    assert ran.code == 0, ran.err
    result = result_of(ran)
    assert result["keys"] == source.call("DBSIZE") == KEYS + len(HUGE)
    assert result["exact"] and not result["put_aside"]
    # 6.2 tells no absolute expiries: neither we nor the comparison know them to the millisecond.
    assert_equal(source, target, ttl_tolerance_ms=100 if source_kind == "6.2" else 0)


def test_the_chosen_cases_are_a_pairwise_cover() -> None:
    assert len(CHOSEN) >= 14
    for first, second in product(PAIRS, METHODS):
        assert any(pair == first and method == second for pair, method, _ in CHOSEN)
    for first, number in product(PAIRS, WORKERS):
        assert any(pair == first and workers == number for pair, _, workers in CHOSEN)
    for method, number in product(METHODS, WORKERS):
        assert any(second == method and workers == number for _, second, workers in CHOSEN)
