"""What the options do that choose keys: seen by MONITOR, by what arrives, and by what is told about the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from keyferry.copying import Copy
from keyferry.grammar import from_python
from keyferry.logs import WARNING, Log
from keyferry.signals import Signals
from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import all_keys, assert_equal
from tests.support.disguises import ClockSkew, TableCursors
from tests.support.filling import names, strings_and_hashes, write_strings
from tests.support.hooks import At, TurnsOpaque
from tests.support.monitor import Executed, Monitor
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of
from tests.support.words import read, refusal

#: Commands that bring a value.
READS = ("GET", "MGET", "DUMP")


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Server, Server]:
    return strings_and_hashes(server)


def read_of(commands: Iterable[Executed]) -> set[bytes]:
    """The keys whose values were asked for; those of the check of rights do not count."""
    asked = {key for one in commands if one.name in READS for key in one.args[1:]}
    return {key for key in asked if not key.startswith(b"keyferry:")}


def scans_of(commands: Iterable[Executed]) -> set[tuple[bytes, ...]]:
    """What SCANs were told besides cursor and COUNT; the plan's probe is left out."""
    return {one.args[4:] for one in commands if one.name == "SCAN" and len(one.args) > 4}


# ---- what SCAN does -----------------------------------------------------------------------------------------------


@pytest.mark.covers("match")
def test_match_is_left_to_the_sources_scan(pair: tuple[Server, Server]) -> None:
    source, target = pair
    with Monitor(source) as reads:
        told = result_of(copied(source, target, "--match", "key:[0-4]?", "--json"))
    assert scans_of(reads.commands) == {(b"MATCH", b"key:[0-4]?")}
    assert all_keys(target) == read_of(reads.commands) == names("key", range(10, 50))
    assert (told["keys"], told["skipped"], told["read"], told["exact"]) == (40, 0, 40, True)


@pytest.mark.covers("type")
def test_one_type_is_left_to_the_sources_scan(pair: tuple[Server, Server]) -> None:
    source, target = pair
    with Monitor(source) as reads:
        told = result_of(copied(source, target, "--type", "hash", "--json"))
    assert scans_of(reads.commands) == {(b"TYPE", b"hash")}
    assert all_keys(target) == read_of(reads.commands) == names("hash", range(20))
    assert (told["keys"], told["skipped"], told["exact"]) == (20, 0, True)


@pytest.mark.covers("type")
def test_of_several_types_each_key_is_asked(pair: tuple[Server, Server]) -> None:
    source, target = pair
    with source.connect() as connection:
        connection.must("RPUSH", "list", "value")
    with Monitor(source) as reads:
        told = result_of(copied(source, target, "--type", "hash,LIST", "--json"))
    assert not scans_of(reads.commands)
    assert all_keys(target) == read_of(reads.commands) == names("hash", range(20)) | {b"list"}
    assert (told["keys"], told["skipped"], told["read"]) == (21, 100, 121)


class NoFilters(Hooks):
    """SCAN knows COUNT alone."""

    def on_command(self, args: Args) -> Answer:
        return b"-ERR syntax error\r\n" if args[0].upper() == b"SCAN" and len(args) > 4 else args


@pytest.mark.covers("match", "type")
def test_what_scan_refuses_is_done_without_it(pair: tuple[Server, Server]) -> None:
    source, target = pair
    with Proxy(source, NoFilters()) as proxy:
        told = result_of(copied(proxy, target, "--match", "*[05]", "--type", "string", "--json"))
    assert all_keys(target) == names("key", range(0, 100, 5))
    assert (told["keys"], told["skipped"], told["exact"]) == (20, 100, True)


@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.covers("match")
def test_many_ranges_or_one_scanner_bring_what_matches(ring: bool, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 30_000)
    with Proxy(source, Hooks() if ring else TableCursors()) as proxy:
        words = ("--match", "key:*7", "--exclude", "key:1*", "--json", "--workers", "2")
        told = result_of(copied(proxy, target, *words))
    wanted = {name for name in names("key", range(7, 30_000, 10)) if not name.startswith(b"key:1")}
    assert all_keys(target) == wanted
    assert (told["keys"], told["skipped"], told["exact"]) == (len(wanted), 3_000 - len(wanted), ring)


def test_a_ring_that_turns_out_to_be_none_is_noticed_although_scan_filters(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 25_000)
    with Proxy(source, TurnsOpaque()) as proxy:
        ran = copied(proxy, target, "--match", "key:*9", "--workers", "2")
    assert "cursors cannot be split" in ran.err
    assert all_keys(target) == names("key", range(9, 25_000, 10))


# ---- what we do ---------------------------------------------------------------------------------------------------


@pytest.mark.covers("include", "exclude")
def test_a_key_must_fit_one_include_and_no_exclude(pair: tuple[Server, Server]) -> None:
    source, target = pair
    words = ("--include", "key:1*", "--include", "hash:?", "--exclude", "*3", "--exclude", "*[5-7]")
    with Monitor(source) as reads:
        told = result_of(copied(source, target, *words, "--json"))
    wanted = names("key", [1, 10, 11, 12, 14, 18, 19]) | names("hash", [0, 1, 2, 4, 8, 9])
    assert all_keys(target) == read_of(reads.commands) == wanted
    assert (told["keys"], told["skipped"], told["read"]) == (13, 107, 120)


@pytest.mark.covers("include")
def test_the_environment_has_globs_with_commas(pair: tuple[Server, Server]) -> None:
    source, target = pair
    env = {"KEYFERRY_INCLUDE": "key:1,hash:1*"}
    assert run_keyferry(*at(source), "replicate", *at(target), env=env).code == 0
    assert all_keys(target) == names("key", [1]) | names("hash", [1, *range(10, 20)])


@pytest.mark.parametrize("kind", ["6.2", "7.0"])
@pytest.mark.covers("min-ttl", "max-ttl")
def test_the_time_to_live_is_counted_from_one_instant_and_never_is_the_longest(
    kind: str, server: ServerFactory
) -> None:
    source, target = server(kind), server("9.1")
    hours = {"never": None, "soon": 1, "later": 5, "last": 50}
    with source.connect() as connection:
        for name, count in hours.items():
            connection.must("SET", name, "value", *(("EX", count * 3600) if count else ()))
    for words, wanted in (
        (("--min-ttl", "2h"), {b"never", b"later", b"last"}),
        (("--max-ttl", "6h"), {b"soon", b"later"}),
        (("--min-ttl", "2h", "--max-ttl", "6h"), {b"later"}),
        (("--max-ttl", "6h", "--no-ttl"), {b"soon", b"later"}),
    ):
        target.call("FLUSHALL")
        with Monitor(source) as reads:
            told = result_of(copied(source, target, *words, "--json"))
        assert all_keys(target) == read_of(reads.commands) == wanted
        assert told["skipped"] == 4 - len(wanted)


class LaterOn(ClockSkew):
    """At the fifth MGET `change` is called, and from then on its clock is an hour ahead."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__(0)
        self._change, self._asked = change, 0

    def on_command(self, args: Args) -> Answer:
        self._asked += args[0] == b"MGET"
        if self._asked == 5 and not self._skew_us:
            self._skew_us = 3_600 * 10**6
            self._change()
        return args


def test_the_time_to_live_is_counted_from_the_start_where_a_copy_begins_again(server: ServerFactory) -> None:
    """Else a key that was in scope would be left as it was in the first pass, or be missed, and the proof with it."""
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 1_000)
    source.call("SET", "long enough", "value", "EX", 9_000)
    with Proxy(source, LaterOn(target.restart)) as proxy:
        words = (*at(proxy), "replicate", *at(target), "--min-ttl", "2h", "--batch", "50")
        ran = run_keyferry(*words, env=VERIFIED)
        assert "the copy begins again" in ran.err
        assert (ran.code, ran.out.splitlines()[-1]) == (0, "OK:1001 V:0 >:0 <:0 T:0"), ran.out
        assert target.call("EXISTS", "long enough")


def test_all_passes_of_a_run_count_from_the_same_instant(pair: tuple[Server, Server]) -> None:
    """Else a verification by another map of slots, say, would look for keys that were not to be copied."""
    source, target = pair
    call = from_python("replicate", [source.uri, target.uri], min_ttl="10m", max_ttl="1h")
    copy, found = Copy(call, Log(WARNING), Signals()), []
    for again in (False, True):
        controls, plan = copy.prepare(may_write=False, again=again)
        controls.close()
        found.append(plan.setup.filters)
    assert found[0] == found[1]


@pytest.mark.covers("max-size")
def test_a_value_that_is_too_large_never_travels(pair: tuple[Server, Server]) -> None:
    source, target = pair
    with source.connect() as connection:
        connection.must("SET", "exactly", b"v" * 1_000)
        connection.must("SET", "larger", b"v" * 1_001)
        connection.must("RPUSH", "list", b"v" * 5_000)
    with Monitor(source) as reads:
        told = result_of(copied(source, target, "--max-size", "1k", "--json"))
    assert all_keys(target) == read_of(reads.commands) == all_keys(source) - {b"larger", b"list"}
    assert (told["keys"], told["skipped"]) == (121, 2)


def test_a_key_that_may_not_be_asked_about_is_not_lost(server: ServerFactory, tmp_path: Path) -> None:
    acl = ("user limited on >secret ~key:* +@all",)
    source, target = server("7.0", acl=acl), server("7.0")
    write_strings(source, 10)
    write_strings(source, 1, prefix="other:")
    words = ("--user", "limited", "--pass=secret", "replicate", *at(target), "--max-size", "1k", "--json")
    ran = run_keyferry(*at(source), *words, cwd=str(tmp_path))
    told = result_of(ran)
    assert (ran.code, told["keys"], told["put_aside"], told["skipped"]) == (1, 10, 1, 0)


def test_rights_that_filters_need_are_asked_for_before_the_first_key(server: ServerFactory) -> None:
    source, target = server("7.0", acl=("user limited on >secret ~* +@all -memory",)), server("7.0")
    words = ("--user", "limited", "--pass=secret", "replicate", *at(target), "--max-size", "1k")
    ran = run_keyferry(*at(source), *words)
    assert (ran.code, "may not run MEMORY" in ran.err) == (3, True)


# ---- how many -----------------------------------------------------------------------------------------------------


@pytest.mark.covers("limit")
@pytest.mark.parametrize("more", [(), ("--match", "key:*"), ("--exclude", "hash:*", "--max-size", "1k")])
def test_exactly_as_many_keys_as_the_limit_are_copied(more: tuple[str, ...], pair: tuple[Server, Server]) -> None:
    source, target = pair
    write_strings(source, 9_000)
    told = result_of(copied(source, target, "--limit", "1234", "--workers", "2", "--json", *more))
    assert (told["keys"], told["exact"], target.call("DBSIZE")) == (1234, True, 1234)


@pytest.mark.covers("limit")
def test_the_limit_is_over_all_databases(pair: tuple[Server, Server]) -> None:
    source, target = pair
    write_strings(source, 50, db=3)
    told = result_of(copied(source, target, "--dbs", "all", "--limit", "130", "--json"))
    assert told["keys"] == 130
    assert sum(int(text.split(",")[0].split("=")[1]) for text in target.info("keyspace").values()) == 130


@pytest.mark.covers("limit")
def test_a_limit_beyond_what_there_is_copies_all(pair: tuple[Server, Server]) -> None:
    source, target = pair
    told = result_of(copied(source, target, "--limit", "100000", "--json"))
    assert (told["keys"], told["exact"]) == (120, True)
    assert_equal(source, target)


# ---- weather ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 3_000])
def test_connections_that_are_lost_while_keys_are_looked_at_lose_no_key(
    limit: int | None, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 5_000)
    words = ["--type", "string,hash", "--exclude", "*9", "--min-ttl", "1s", "--json"]
    words += ["--limit", str(limit)] if limit else []
    cut = At(1_234, lambda: source.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), lambda a: a[0] == b"TYPE")
    with Proxy(source, cut) as proxy:
        told = result_of(copied(proxy, target, *words))
    assert cut._left < 0
    assert told["keys"] == target.call("DBSIZE") == (limit or 4_500)
    assert all_keys(target) <= {name for name in names("key", range(5_000)) if not name.endswith(b"9")}


# ---- the plan -----------------------------------------------------------------------------------------------------


def test_the_plan_shows_the_filters_and_that_its_estimates_do_not_know_them(pair: tuple[Server, Server]) -> None:
    source, target = pair
    words = ("--match", "key:*", "--type", "string,hash", "--include", "*1", "--exclude", "*2", "--min-ttl", "0s")
    words += ("--max-ttl", "2h", "--max-size", "1kb", "--limit", "5")
    lines = copied(source, target, "--dry-run", *words).out.splitlines()
    assert [line.removeprefix("filter    ") for line in lines if line.startswith("filter")] == [
        '--match "key:*", by SCAN', "--type string,hash", '--include "*1"', '--exclude "*2"',
        "--min-ttl 0.00 s, from now on", "--max-ttl 2h00m, from now on", "--max-size 1,024 bytes", "--limit 5 keys",
    ]  # fmt: skip
    assert any(line.startswith("estimate") and line.endswith("before filtering") for line in lines)
    told: dict[str, Any] = result_of(copied(source, target, "--dry-run", "--json", "--type", "hash"))
    assert (told["filters"], told["estimated_before_filtering"]) == (["--type hash, by SCAN"], True)
    told = result_of(copied(source, target, "--dry-run", "--json"))
    assert (told["filters"], told["estimated_before_filtering"]) == ([], False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--match [abc", "--match '[abc': has a [ without its ] | a backslash before a sign"),
        ("--exclude a --exclude b\\", "ends with a lone backslash"),
        ("--type strings", "there is no type 'strings' | the types are string, list"),
        ("--type string,", "there is no type ''"),
        ("--limit 0", "--limit '0': must be a whole number of at least 1"),
        ("--min-ttl 5", "the unit is missing | 5s is seconds"),
        ("--max-size 1x", "must be a size like 100, 1k"),
        ("--keys-format nul", "--keys-format needs --keys-from"),
        ("--keys-from f --dbs all", "names keys of one database, --dbs chooses several"),
        ("--keys-from f --db-map 0:1,1:2", "names keys of one database, --db-map chooses several"),
        ("--min-ttl 2h --max-ttl 1h", "no key passes both --min-ttl and --max-ttl"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_wrong_usage(words: str, says: str) -> None:
    assert says in refusal(f"replicate a b {words}")


def test_filters_are_read_as_they_are_written() -> None:
    found = read("replicate a b --include x* --include ключ --type ReJSON-RL,Hash --max-size 1kb --keys-from f --dbs 3")
    assert found.options["include"] == [b"x*", "ключ".encode()]
    assert found.options["type"] == ["ReJSON-RL", "Hash"]
    assert (found.options["max_size"], found.options["keys_from"]) == (1024, "f")
