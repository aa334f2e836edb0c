"""Copies of a source that does not hold still lose no key that was there throughout; counts at rest are exact."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from itertools import count

import pytest

import keyferry
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal, lost
from tests.support.filling import write_and_rest, write_keys
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of
from tests.support.threads import meanwhile

KINDS = ("6.2", "7.0", "8.2", "9.1")
#: Keys that stay from beginning to end; more than the probe needs, so that the ring is really split.
STABLE = 22_000
SEEDS = [pytest.param(seed, marks=[pytest.mark.soak] if seed else []) for seed in range(20)]


def stable_keys() -> list[bytes]:
    return [b"stable:%d" % number for number in range(STABLE)]


def grow(server: Server, chance: random.Random, stop: threading.Event) -> None:
    """Nine times as many keys again."""
    with server.connect() as connection:
        for batch in range(STABLE * 9 // 500):
            if stop.is_set():
                return
            words = [word for n in range(500) for word in (b"new:%d:%d" % (batch, n), b"x")]
            connection.pipeline([("MSET", *words)])
            stop.wait(0.003)  # so that it is still going on when the copy begins


def add(server: Server, chance: random.Random, stop: threading.Event) -> None:
    """A few new keys at a time, until told to stop."""
    with server.connect() as connection:
        for number in count():
            if stop.wait(0.002):
                return
            connection.pipeline([("SET", b"new:%d:%d" % (number, n), b"x") for n in range(50)])


def shrink(server: Server, chance: random.Random, stop: threading.Event) -> None:
    """Nine of ten keys go."""
    doomed = [b"doomed:%d" % number for number in range(STABLE * 9)]
    chance.shuffle(doomed)
    with server.connect() as connection:
        for begin in range(0, len(doomed), 500):
            if stop.is_set():
                return
            connection.pipeline([("UNLINK", *doomed[begin : begin + 500])])
            stop.wait(0.003)


def churn(server: Server, chance: random.Random, stop: threading.Event) -> None:
    """Keys come, change and go, until told to stop."""
    with server.connect() as connection:
        while not stop.is_set():
            commands = []
            for _ in range(200):
                key = b"churn:%d" % chance.randrange(STABLE)
                commands.append(chance.choice([("SET", key, b"y"), ("UNLINK", key), ("SET", key, b"z", "PX", b"20")]))
            commands.append(("SET", chance.choice(stable_keys()[:100]), b"changed"))
            connection.pipeline(commands)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("writer", [grow, shrink, churn])
@pytest.mark.parametrize("kind", KINDS)
def test_no_key_that_existed_throughout_is_missing(
    kind: str, writer: Callable[..., None], seed: int, server: ServerFactory
) -> None:
    source, target = server(kind), server(kind)
    write_keys(source, stable_keys())
    if writer is shrink:
        write_keys(source, [b"doomed:%d" % number for number in range(STABLE * 9)])
    with meanwhile(lambda stop: writer(source, random.Random(seed), stop)):
        # Small windows and COUNTs make the copy long enough for the table to change its size meanwhile.
        words = ("--scan-count", "50", "--batch", "50", "--workers", "2", "--json")
        ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), *words)
    assert ran.code == 0, ran.err
    assert lost(stable_keys(), target) == []


@pytest.mark.parametrize("ranges", [1, 8, 64, 500])
@pytest.mark.parametrize("kind", KINDS)
def test_counts_at_rest_equal_dbsize_to_the_key(kind: str, ranges: int, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    write_and_rest(source, stable_keys())
    summary = keyferry.replicate(source.uri, target.uri, ranges=ranges, workers=2)
    assert summary.exact
    assert summary.counts.copied == summary.counts.read == STABLE
    assert_equal(source, target)


@pytest.mark.parametrize("keys", [0, 1, 3, 37, 700])
def test_more_ranges_than_buckets_count_each_key_once(keys: int, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_and_rest(source, stable_keys()[:keys])
    summary = keyferry.replicate(source.uri, target.uri, ranges=64, workers=1)
    assert summary.exact
    assert summary.counts.copied == keys
    assert_equal(source, target)


def test_a_changing_source_is_told_by_a_tilde(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_keys(source, stable_keys())
    with meanwhile(lambda stop: add(source, random.Random(1), stop)):
        ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), "--batch", "20")
    assert ran.code == 0
    assert "~" in ran.out.splitlines()[0]
    ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), "--json")
    assert result_of(ran)["exact"]
