"""`--dry-run`: the plan, its warnings, and that nothing is touched on either side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.dataset import fill
from tests.support.disguises import ClockSkew
from tests.support.filling import write_strings
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry
from tests.support.respproxy import Proxy
from tests.support.servers import Server
from tests.support.summary import result_of

#: All that a dry run may send. CLIENT names our own connection, which ends with the run.
COMMON = {"CLIENT", "DBSIZE", "INFO", "PING", "SELECT", "TIME"}
VALUES = {
    "DUMP", "EXISTS", "GET", "GETRANGE", "HGETALL", "HLEN", "HMGET", "HPEXPIRETIME", "HSCAN", "LLEN", "LRANGE", "MGET",
    "MEMORY", "PEXPIRETIME", "PTTL", "SCAN", "SCARD", "SMEMBERS", "SMISMEMBER", "SSCAN", "STRLEN", "TYPE", "XINFO",
    "XLEN", "XPENDING", "XRANGE", "ZCARD", "ZRANGE",
}  # fmt: skip
READS = {"source": COMMON | VALUES, "target": COMMON | VALUES | {"ACL"}}
#: What may be said by CLIENT.
OF_CLIENT = {b"SETNAME", b"NO-EVICT", b"NO-TOUCH", b"ID", b"INFO"}
#: And by ACL, which executes nothing.
OF_ACL = {b"WHOAMI", b"DRYRUN"}


@pytest.mark.parametrize("kinds", [("6.2", "7.0"), ("7.0", "9.1")], ids="-".join)
@pytest.mark.parametrize("keys", [300, 25_000])
def test_only_reads_are_sent_to_either_server(kinds: tuple[str, str], keys: int, server: ServerFactory) -> None:
    source, target = (server(kind) for kind in kinds)
    write_strings(source, keys)
    fill(source, 200, db=3)
    with Monitor(source) as reads, Monitor(target) as writes:
        copied(source, target, "--dry-run", "--dbs", "all")
    for side, monitor in (("source", reads), ("target", writes)):
        assert monitor.names() <= READS[side]
        assert {one.args[1].upper() for one in monitor.commands if one.name == "CLIENT"} <= OF_CLIENT
        assert {one.args[1].upper() for one in monitor.commands if one.name == "ACL"} <= OF_ACL


def test_both_servers_hold_afterwards_what_they_held_before(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    fill(source, 300)
    fill(target, 100, seed=2)
    before = [state_of(one) for one in (source, target)]
    copied(source, target, "--dry-run")
    assert [state_of(one) for one in (source, target)] == before


def state_of(server: Server) -> tuple[Any, ...]:
    changes = server.info("persistence")["rdb_changes_since_last_save"]
    spaces = {name: text.split(",avg_ttl")[0] for name, text in server.info("keyspace").items()}
    return server.call("DBSIZE"), server.call("DEBUG", "DIGEST"), spaces, changes


def test_no_file_is_made_and_no_worker_started(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 25_000)
    with Monitor(source) as reads:
        copied(source, target, "--dry-run", cwd=str(tmp_path))
    assert len({one.client for one in reads.commands}) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_plan_shows_what_would_be_done(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 25_000)
    write_strings(source, 40, db=3)
    with source.connect(3) as connection:
        connection.must("EXPIRE", "key:1", 1_000)
    words = ("--db-map", "0:0,3:5", "--workers", "2", "--scan-count", "100", "--batch", "200")
    ran = copied(source, target, "--dry-run", *words)
    shown = {line.split("  ")[0]: line for line in ran.out.splitlines()}
    assert shown["source"].endswith(f"{source.address}  Redis 7.0.15  standalone master")
    assert f"{target.address}  Valkey 9.1" in shown["target"] and shown["target"].endswith("standalone master")
    assert "25,000 keys, 0 with an expiry, " in shown["db 0 → 0"] and " ranges" in shown["db 0 → 0"]
    assert shown["db 3 → 5"].endswith(" 40 keys, 1 with an expiry, 1 range")
    assert "2 workers" in shown["workers"] and "5 connections a side" in shown["workers"]
    assert shown["method"].endswith("auto; at most 200 keys a window; SCAN COUNT 100")
    assert "kB, " in shown["estimate"] or "MB, " in shown["estimate"]
    assert " s " in shown["estimate"]
    assert ran.out.splitlines()[-1] == "nothing was written: this was a dry run"


def test_the_plan_for_programs_has_the_same(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 25_000)
    told = result_of(copied(source, target, "--dry-run", "--json", "--workers", "2", "--method", "dump"))
    assert [node["side"] for node in told["nodes"]] == ["source", "target"]
    assert [node["address"] for node in told["nodes"]] == [source.address, target.address]
    assert (told["nodes"][0]["version"][:3], told["nodes"][1]["product"]) == ("7.0", "Valkey")
    (database,) = told["databases"]
    assert (database["source_db"], database["target_db"], database["keys"]) == (0, 0, 25_000)
    assert database["ranges"] > 1
    assert (told["workers"], told["connections_a_side"], told["method"]) == (2, 3, "dump")
    assert told["estimated_bytes"] > 25_000 * 20 and told["estimated_seconds"] >= 0
    assert told["warnings"] == []


def test_the_plan_shows_how_keys_are_read_and_written_where_that_is_chosen(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 10)
    write_strings(target, 1_234)
    assert not [line for line in copied(source, target, "--dry-run").out.splitlines() if line.startswith("keys")]
    words = ("--dry-run", "--on-conflict", "fail", "--atomic", "--no-ttl")
    lines = copied(source, target, *words).out.splitlines()
    assert "keys      the first that exists ends the run; read in transactions; written without expiry" in lines
    assert "warning   target db 0 holds 1,234 keys: one that is to be copied ends the run" in lines
    told = result_of(copied(source, target, *words, "--json"))
    assert (told["on_conflict"], told["atomic"], told["no_ttl"]) == ("fail", True, True)


@pytest.mark.parametrize("flags", ["", "Kl"])
def test_the_plan_shows_settings_as_they_would_be_and_as_they_are(flags: str, server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("9.1")
    source.call("CONFIG", "SET", "notify-keyspace-events", flags)
    words = ("--dry-run", "--live", "--feed", "notifications", "--enable-notifications")
    for more in ((), ("--source-rdbcompression", "off")):
        lines = [one for one in copied(source, target, *words, *more).out.splitlines() if one.startswith("setting")]
        assert len(lines) == 1 + bool(more)
        *first, last = lines
        assert last.startswith("setting   source notify-keyspace-events ")
        assert last.endswith(f" for the time of the run; it is {flags or chr(34) * 2} now".replace("Kl", "lK"))
        assert all(one.endswith("rdbcompression no for the time of the run; it is yes now") for one in first)
    assert source.call("CONFIG", "GET", "notify-keyspace-events")[1] in (flags.encode(), flags.encode()[::-1])


def test_what_the_copy_would_refuse_the_dry_run_refuses(server: ServerFactory) -> None:
    one = server("7.0")
    ran = run_keyferry(*at(one), "replicate", *at(one), "--dry-run")
    assert ran.code == 6
    assert ran.out == ""


# -- warnings -------------------------------------------------------------------------------------------------------

Ends = tuple[Server | Proxy, Server | Proxy]
Arrange = Callable[[ServerFactory, ExitStack], Ends]


def _skewed(seconds: float) -> Arrange:
    def arrange(server: ServerFactory, stack: ExitStack) -> Ends:
        return server("7.0"), stack.enter_context(Proxy(server("9.1"), ClockSkew(seconds)))

    return arrange


def _plain(server: ServerFactory, stack: ExitStack) -> Ends:
    return server("7.0"), server("9.1")


def _evicting_source(server: ServerFactory, stack: ExitStack) -> Ends:
    return server("7.0", "--maxmemory-policy", "volatile-ttl", maxmemory="1gb"), server("9.1")


def _evicting_target(server: ServerFactory, stack: ExitStack) -> Ends:
    return server("7.0"), server("9.1", "--maxmemory-policy", "allkeys-lru", maxmemory="1gb")


def _bounded_but_keeping(server: ServerFactory, stack: ExitStack) -> Ends:
    return server("7.0", maxmemory="1gb"), server("9.1", maxmemory="1gb")


def _small(server: ServerFactory, stack: ExitStack) -> Ends:
    source = server("7.0")
    write_strings(source, 5_000, 1_000)
    return source, server("9.1", maxmemory="4mb")


def _few_databases(server: ServerFactory, stack: ExitStack) -> Ends:
    return server("7.0"), server("9.1", databases=4)


def _not_empty(server: ServerFactory, stack: ExitStack) -> Ends:
    source, target = server("7.0"), server("9.1")
    write_strings(target, 1_234)
    return source, target


def _not_empty_elsewhere(server: ServerFactory, stack: ExitStack) -> Ends:
    source, target = server("7.0"), server("9.1")
    write_strings(target, 10, db=1)
    return source, target


def _functions(at_the_target: bool) -> Arrange:
    def arrange(server: ServerFactory, stack: ExitStack) -> Ends:
        source, target = server("7.0", fresh=True), server("9.1", fresh=True)
        for one in (source, target)[: 1 + at_the_target]:
            one.call("FUNCTION", "LOAD", "#!lua name=library\nredis.register_function('f', function() return 1 end)")
        return source, target

    return arrange


#: Arrangements, and the beginning of the one warning that each draws; "" none.
WARNINGS: dict[str, tuple[Arrange, str]] = {
    "nothing special": (_plain, ""),
    "the source evicts": (_evicting_source, "source may evict keys: maxmemory-policy volatile-ttl"),
    "the target evicts": (_evicting_target, "target may evict keys: maxmemory-policy allkeys-lru"),
    "limits, but no eviction": (_bounded_but_keeping, ""),
    "the target's clock is ahead": (_skewed(5), "target's clock is 5.0 s ahead of the source's"),
    "the target's clock is behind": (_skewed(-90), "target's clock is 90.0 s behind the source's"),
    "clocks hardly apart": (_skewed(0.3), ""),
    "the target is smaller than the data": (_small, "target's maxmemory 4,194,304 bytes is below the source's used"),
    "the target has fewer databases": (_few_databases, "target has 4 databases, source 16"),
    "the target is not empty": (_not_empty, "target db 0 holds 1,234 keys"),
    "another database is not empty": (_not_empty_elsewhere, ""),
    "the source has functions": (
        _functions(False),
        "source has 1 function library, target 0: functions are not copied",
    ),
    "both have functions": (_functions(True), ""),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("name", WARNINGS)
def test_each_warning_appears_when_there_is_reason_and_not_otherwise(
    name: str, server: ServerFactory, stack: ExitStack
) -> None:
    arrange, says = WARNINGS[name]
    source, target = arrange(server, stack)
    ran = copied(source, target, "--dry-run")
    warnings = [line for line in ran.out.splitlines() if line.startswith("warning")]
    assert len(warnings) == bool(says)
    assert all(line.startswith(f"warning   {says}") for line in warnings)
    assert all(len(line) <= 80 for line in ran.out.splitlines())
