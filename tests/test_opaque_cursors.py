"""Servers whose cursors must not be split: found out, and copied completely by one scanner.

Each stands as a proxy in front of real servers and rewrites SCAN as such a server would.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill_large
from tests.support.disguises import NamedCursors, OffsetCursors, ShardedCursors, TableCursors
from tests.support.filling import write_strings
from tests.support.hooks import TurnsOpaque
from tests.support.processes import VERIFIED, Result, run_keyferry, start_keyferry, worker_pids
from tests.support.respproxy import Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of

KEYS = 25_000  # more than the probe needs


def copy(proxy: Proxy, target: Server, *words: str) -> Result:
    return run_keyferry(
        "-p", str(proxy.port), "replicate", "-p", str(target.port), "--json", "--workers", "2", *words, timeout=110
    )


@pytest.mark.parametrize("scheme", ["offset", "table"])
def test_cursors_that_are_no_positions_are_copied_by_one_scanner(scheme: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    hooks: Hooks = OffsetCursors(source) if scheme == "offset" else TableCursors()
    with Proxy(source, hooks) as proxy:
        plan = copy(proxy, target, "--dry-run")
        ran = copy(proxy, target)
    assert "one scanner" in result_of(plan)["databases"][0]["how"]
    assert ran.code == 0, ran.err
    assert result_of(ran)["keys"] == KEYS
    assert_equal(source, target)


@pytest.mark.parametrize("words", [(), ("--limit", "700"), ("--on-conflict", "skip"), ("--match", "key:*")])
@pytest.mark.parametrize("keys", [2_000, KEYS])
def test_cursors_that_are_no_numbers_are_sent_back_as_they_came(
    keys: int, words: tuple[str, ...], server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, keys)
    with Proxy(source, NamedCursors()) as proxy:
        ran = run_keyferry(*at(proxy), "replicate", *at(target), *words, env=VERIFIED)
        back = run_keyferry(*at(target), "compare", *at(proxy))
    assert ran.code == 0, ran.err
    assert target.call("DBSIZE") == (700 if "--limit" in words else keys)
    assert back.code == (1 if "--limit" in words else 0), back.err


@pytest.mark.parametrize("shards", [2, 3])
def test_a_shard_number_in_the_lowest_bits_is_copied_completely(shards: int, server: ServerFactory) -> None:
    behind = [server("7.0") for _ in range(shards)]
    target = server("7.0")
    with Proxy(behind, ShardedCursors(shards)) as proxy:
        with proxy.connect() as connection:
            connection.pipeline([("SET", b"key:%d" % number, b"value") for number in range(KEYS)])
        ran = copy(proxy, target)
    assert ran.code == 0, ran.err
    assert all_keys(target) == {b"key:%d" % number for number in range(KEYS)}
    assert all(one.call("DBSIZE") > KEYS // 5 for one in behind)


class EmptyForAMoment(TurnsOpaque):
    """One step of the copy is answered by a table that a flush has just emptied; by the next one it is full again."""

    emptied = False

    def on_reply(self, args: Args, reply: Any) -> Any:
        if not self.copying or self.emptied:
            return reply
        self.emptied = True
        return [b"0", []]


@pytest.mark.parametrize(("hooks", "again"), [(TurnsOpaque, True), (EmptyForAMoment, False)])
def test_a_database_is_begun_again_where_cursors_turn_out_to_be_no_positions(
    hooks: type[Hooks], again: bool, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with Proxy(source, hooks()) as proxy:
        ran = copy(proxy, target)
    assert ran.code == 0, ran.err
    assert ("cursors cannot be split" in ran.err) == again
    assert_equal(source, target)
    assert result_of(ran)["keys"] == KEYS


def test_keys_count_once_where_workers_die_with_a_scanner_and_names_that_it_has_handed_up(
    server: ServerFactory,
) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with Proxy(source, TableCursors()) as proxy:
        words = ("-p", str(proxy.port), "replicate", "-p", str(target.port), "--workers", "2", "--rate", "10000")
        with start_keyferry(*words, "--json") as run:
            deadline = time.monotonic() + 60
            while target.call("DBSIZE") < KEYS // 4:
                assert run.running and time.monotonic() < deadline, run.err
                time.sleep(0.005)
            for pid in worker_pids(run.pid):
                os.kill(pid, signal.SIGKILL)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert "db 0: its cursors cannot be split: it is read again by one scanner" in ran.err
    assert result_of(ran)["keys"] == KEYS
    assert_equal(source, target)


@pytest.mark.parametrize(("workers", "databases"), [(1, 2), pytest.param(2, 10, marks=pytest.mark.soak)])
def test_scanners_that_have_to_share_connections_do_not_wait_for_each_other(
    workers: int, databases: int, server: ServerFactory
) -> None:
    """With ten, each of two workers has a scanner, and its other lanes are for names of the other one's database."""
    source, target = server("7.0"), server("7.0")
    for db in range(databases):
        with source.connect(db) as connection:
            connection.pipeline([("SET", b"key:%d" % number, b"%d" % db) for number in range(KEYS)])
    pool = ("-m", str(workers))
    with Proxy(source, TableCursors()) as proxy:
        ran = run_keyferry(
            *("-p", str(proxy.port), *pool, "replicate", "-p", str(target.port), *pool),
            *("--json", "--workers", str(workers), "--dbs", "all"),
            timeout=110,
        )
    assert ran.code == 0, ran.err
    assert result_of(ran)["keys"] == databases * KEYS
    for db in range(databases):
        assert_equal(source, target, db=db)
