"""The rules of safe copying, each by the way in which a key would be lost without it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.workers.expiry import LATEST, NEVER, Clock, Expiries, moved
from keyferry.workers.read import Method
from keyferry.workers.structs.ask import Times
from keyferry.workers.window import Window
from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import all_keys, assert_equal
from tests.support.disguises import ClockSkew, ShardedCursors
from tests.support.hooks import At
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.window_loop import Loop

RING_KEYS = 25_000  # enough for the probe, so that all shortcuts of a direct connection are on


def immortal(server: Server) -> list[bytes]:
    """The keys of a server that never expire."""
    keys = server.call("KEYS", "*")
    with server.connect() as connection:
        ttls = connection.pipeline([("PTTL", key) for key in keys])
    return [key for key, ttl in zip(keys, ttls, strict=True) if ttl == -1]


# ---- expiries ----------------------------------------------------------------------------------------------


@given(
    reply=st.integers(-2, 10**13) | st.integers(-2, LATEST),
    now_ms=st.integers(10**12, 2 * 10**12),
    shift_ms=st.integers(-(10**6), 10**6),
    absolute=st.booleans(),
)
def test_only_minus_one_means_never(reply: int, now_ms: int, shift_ms: int, absolute: bool) -> None:
    (instant,) = Expiries.told([reply], now_ms, Clock(absolute, shift_ms)).instants()
    if reply == -1:
        assert instant == NEVER
    elif reply <= (now_ms if absolute else 0):
        assert instant is None
    else:
        assert instant == min(reply + shift_ms + (0 if absolute else now_ms), LATEST)


def test_what_would_end_after_the_last_instant_ends_then() -> None:
    """By the target's clock, and by that of another of its nodes; a comparison expects no other."""
    assert moved([5, LATEST - 10, LATEST], 20) == [25, LATEST, LATEST]
    assert Times(20).equal(LATEST, LATEST)
    assert not Times(20).equal(LATEST - 100, LATEST)


@pytest.mark.parametrize("method", ["native", "dump"])
@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
def test_a_key_that_expires_while_it_is_copied_never_becomes_immortal(
    kind: str, method: str, server: ServerFactory
) -> None:
    source, target = server(kind), server(kind)
    with source.connect() as connection:
        connection.pipeline(
            [("SET", b"key:%d" % n, b"value", "PX", b"%d" % (150 + n % 1200)) for n in range(RING_KEYS)]
        )
    ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), "--method", method, "--batch", "50")
    assert ran.code == 0, ran.err
    assert immortal(target) == []


@pytest.mark.parametrize("kind", ["6.2", "7.0"])
@pytest.mark.parametrize("ahead_s", [5, -5])
def test_expiries_follow_the_targets_clock(kind: str, ahead_s: int, server: ServerFactory) -> None:
    source, target = server(kind), server("7.0")
    instant_ms = int(time.time() * 1000) + 1_000_000
    source.call("SET", "string", "value", "PXAT", instant_ms)
    source.call("HSET", "hash", "field", "value")
    source.call("PEXPIREAT", "hash", instant_ms)
    with Proxy(target, ClockSkew(ahead_s)) as proxy:
        ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(proxy.port))
    assert ran.code == 0, ran.err
    assert "the source's: key expiries follow it" in ran.err
    for key in ("string", "hash"):
        assert target.call("PEXPIRETIME", key) == pytest.approx(instant_ms + ahead_s * 1000, abs=1_000)


def test_expiries_on_equal_clocks_are_equal_to_the_millisecond(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    with source.connect() as connection:
        connection.pipeline([("SET", b"key:%d" % n, b"v", "PX", b"%d" % (10**6 + n)) for n in range(5_000)])
    assert run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port)).code == 0
    assert_equal(source, target)


class BusyInBetween(Hooks):
    """Other clients' work falls before each twentieth PTTL, for 200 ms."""

    def __init__(self) -> None:
        self.asked = 0

    def on_command(self, args: Args) -> Answer:
        if args[0] == b"PTTL":
            self.asked += 1
            if self.asked % 20 == 0:
                time.sleep(0.2)
        return args


@pytest.mark.parametrize("careful", [False, True])
def test_a_busy_old_source_tells_expiries_to_the_few_milliseconds(careful: bool, server: ServerFactory) -> None:
    """6.2 tells only what is left of an expiry, and its clock has to be asked in the same moment.

    It may be kept waiting between the two by the machine; but not for as long as the others' work takes once.
    """
    source, target = server("6.2"), server("7.0")
    seconds, _ = source.call("TIME")
    instants = {b"key:%d" % n: (int(seconds) + 1000) * 1000 + n for n in range(80)}
    with source.connect() as connection:
        connection.pipeline([("SET", key, b"v", "PXAT", instant) for key, instant in instants.items()])
    settled: list[Window] = []
    with Proxy(source, BusyInBetween()) as proxy:
        loop = Loop(proxy, [target], Clock(absolute=False), owners=None)
        try:
            loop.run_until(lambda: loop.link.ready)
            window = Window(loop.link, list(instants), Method.MGET, settled.append)
            (window.careful if careful else window.start)()
            loop.run_until(lambda: bool(settled))
        finally:
            loop.close()
    found = {key: target.call("PEXPIRETIME", key) for key in instants}
    assert {key: found[key] - instants[key] for key in instants if abs(found[key] - instants[key]) > 150} == {}


# ---- connections -------------------------------------------------------------------------------------------


def test_a_connection_belongs_to_one_database_for_life(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    dbs = range(6)
    for db in dbs:
        with source.connect(db) as connection:
            connection.pipeline([("SET", b"key:%d" % n, b"of db %d" % db) for n in range(300)])
    with Monitor(source) as reads, Monitor(target) as writes:
        # Fewer connections than databases: links have to be given up and opened again.
        ran = run_keyferry(
            "-p", str(source.port), "-m", "2", "replicate", "-p", str(target.port), "-m", "2", "--workers", "2",
            "--dbs", "all",
        )  # fmt: skip
    assert ran.code == 0, ran.err
    for db in dbs:
        assert_equal(source, target, db=db)
    for command in ("MGET", "MSET"):
        used = {(seen.client, seen.db) for seen in reads.commands + writes.commands if seen.name == command}
        assert len({client for client, _ in used}) == len(used) >= 6


class RefusesSelect(Hooks):
    """SELECT of a worker is refused; those of the control connection, which come first, are not."""

    def __init__(self, free: int) -> None:
        self.free = free

    def on_command(self, args: Args) -> Answer:
        if args[0].upper() != b"SELECT":
            return args
        self.free -= 1
        return args if self.free >= 0 else b"-ERR DB index is out of range\r\n"


def test_nothing_is_written_behind_a_select_that_failed(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "value")
    with Proxy(target, RefusesSelect(free=2)) as proxy:
        ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(proxy.port), "-n", "3")
    assert ran.code == 4, ran.err
    assert "SELECT refused" in ran.err
    assert target.info("keyspace") == {}


# ---- the shortcut for databases without expiries -----------------------------------------------------------


class ExpiresMeanwhile(Hooks):
    """Stands before the target. When a worker arrives, another client gives keys of the source an expiry.

    Workers read nothing before both their connections have answered, so it happens between plan and first read, while
    the worker's connection to the source stays a direct one.
    """

    def __init__(self, source: Server, keys: list[bytes]) -> None:
        self.source, self.keys = source, keys
        # Absolute: each worker that arrives sets the same expiries, also after the first has begun to copy.
        self.instant = b"%d" % (time.time() * 1000 + 10_000_000)

    def on_command(self, args: Args) -> Answer:
        if args[:2] == [b"CLIENT", b"SETNAME"] and b"control" not in args[2]:
            with self.source.connect() as connection:
                connection.pipeline([("PEXPIREAT", key, self.instant) for key in self.keys])
        return args


def test_an_expiry_that_comes_after_the_plan_is_copied(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    with source.connect() as connection:
        connection.pipeline([("SET", b"key:%d" % n, b"value") for n in range(RING_KEYS)])
    expiring = [b"key:%d" % n for n in range(0, RING_KEYS, 500)]
    with Proxy(target, ExpiresMeanwhile(source, expiring)) as proxy:
        ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(proxy.port))
    assert ran.code == 0, ran.err
    assert source.call("PTTL", expiring[0]) > 0
    assert_equal(source, target)


def test_a_database_without_expiries_is_not_asked_for_any(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    with source.connect() as connection:
        connection.pipeline([("SET", b"key:%d" % n, b"value") for n in range(RING_KEYS)])
    with Monitor(source) as monitor:
        assert run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port)).code == 0
    # The one that is left asks for a key that nobody has, to see whether it may.
    assert sum(seen.name == "PEXPIRETIME" for seen in monitor.commands) <= RING_KEYS // 50
    assert_equal(source, target)


def test_the_info_of_another_shard_is_not_believed(server: ServerFactory) -> None:
    first, second, target = server("7.0"), server("7.0"), server("7.0")
    with Proxy([first, second], ShardedCursors(2)) as proxy:
        with proxy.connect() as connection:
            connection.pipeline([("SET", b"key:%d" % n, b"value") for n in range(RING_KEYS)])
        expiring: list[Any] = second.call("KEYS", "*")[:100]
        with second.connect() as connection:
            connection.pipeline([("PEXPIRE", key, 10_000_000) for key in expiring])
        ran = run_keyferry("-p", str(proxy.port), "replicate", "-p", str(target.port))
    assert ran.code == 0, ran.err
    assert first.info("keyspace")["db0"].endswith("expires=0,avg_ttl=0")
    for key in expiring:
        assert target.call("PEXPIRETIME", key) == second.call("PEXPIRETIME", key) > 0


# ---- identities --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [True, False], ids=["connections lost", "connections kept"])
def test_other_data_in_the_same_process_are_copied_from_the_start(kills: bool, server: ServerFactory) -> None:
    """A source that was somebody's replica in between keeps its run id, and holds that server's data."""
    source, other, target = server("7.0", fresh=True), server("7.0"), server("7.0")
    write(source, b"before:", 3_000)
    write(other, b"after:", 2_000)

    def replace_the_data() -> None:
        source.call("REPLICAOF", other.host, other.port)
        deadline = time.monotonic() + 60
        while source.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        source.call("REPLICAOF", "NO", "ONE")
        if kills:
            source.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    with Proxy(target, At(5, replace_the_data)) as proxy:
        ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(proxy.port), "--batch", "50", "--json")
    assert ran.code == 0, ran.err
    assert "its master_replid is another than when the copy began" in ran.err
    assert "the copy begins again" in ran.err
    assert all_keys(source) == {b"after:%d" % n for n in range(2_000)} <= all_keys(target)


def test_a_target_that_was_emptied_by_a_restart_is_filled_again(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    write(source, b"key:", 3_000)
    with Proxy(source, At(20, target.restart, lambda args: args[0] == b"MGET")) as proxy:
        ran = run_keyferry("-p", str(proxy.port), "replicate", "-p", str(target.port), "--batch", "50")
        assert_equal(source, target)  # the server lives as long as the thread that started it, which is the proxy's
    assert ran.code == 0, ran.err
    assert "the copy begins again" in ran.err


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_address_that_leads_to_another_server_on_the_way_is_noticed(side: str, server: ServerFactory) -> None:
    """The coordinator's connection stays with the first server: only a worker's new connection can tell."""
    source, target, other = server("7.0"), server("7.0"), server("7.0")
    write(source, b"key:", 3_000)
    if side == "source":
        write(other, b"other:", 2_000)
    when, behind = ("reply MGET", source) if side == "source" else ("request MSET", target)
    with FaultProxy(behind.port, f"stall at {when} 20 connection 2") as proxy:
        ends = (proxy, target) if side == "source" else (source, proxy)
        words = (*at(ends[0]), "replicate", *at(ends[1]), "--batch", "50", "--workers", "1", "--json")
        with start_keyferry(*words) as run:
            proxy.wait_until_fired(60)
            proxy.lead_to(other.port)
            proxy.kill_all(after=1)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert "is another than when the copy began" in ran.err and "the copy begins again" in ran.err
    if side == "source":
        assert all_keys(other) == {b"other:%d" % n for n in range(2_000)} <= all_keys(target)
    else:
        assert_equal(source, other)


def write(server: Server, prefix: bytes, count: int) -> None:
    with server.connect() as connection:
        connection.pipeline([("SET", prefix + b"%d" % n, b"value") for n in range(count)])
