"""What is told of differences, and how they are mended."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.conftest import ServerFactory
from tests.support.commands import at, compared, verdict_of
from tests.support.compare import assert_equal, differences
from tests.support.filling import keyspace, write_strings
from tests.support.live import followed, start_live, wait_until
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.servers import Server

DOCS = Path(__file__).resolve().parents[1] / "docs"


def validator(name: str) -> Draft202012Validator:
    """Of a schema in the documentation."""
    schemas = {path.name: json.loads(path.read_text()) for path in DOCS.glob("*.schema.json")}
    registry: Any = Registry().with_resources([(one, Resource.from_contents(it)) for one, it in schemas.items()])
    Draft202012Validator.check_schema(schemas[name])
    return Draft202012Validator(schemas[name], registry=registry)


def differing(server: ServerFactory, kind: str = "7.0") -> tuple[Server, Server]:
    """Two servers with 100 equal keys and a difference of each kind."""
    source, target = server(kind), server(kind)
    for one in (source, target):
        write_strings(one, 100)
        one.client.hset("hash", mapping={"name": "ann", "mail": "a@b"})
        one.client.set("expiry", "value")
        one.client.rpush("type", "a", "b")
    target.client.hset("hash", "mail", "c@d")
    target.client.pexpireat("expiry", 4_000_000_000_000)
    target.client.delete("type")
    target.client.set("type", "a string")
    source.client.set(b"only \xff source", "four", pxat=4_000_000_000_000)
    target.client.sadd("only target", "a", "b", "c")
    return source, target


FOUND = "OK:100 V:2 >:1 <:1 T:1"


@pytest.mark.covers("show-diffs")
def test_differences_are_listed_as_many_as_wanted(server: ServerFactory) -> None:
    source, target = differing(server)
    lines = compared(source, target, "--show-diffs", "10").out.splitlines()
    assert lines[-1] == FOUND
    assert sorted(lines[2:-1]) == sorted([
        'V "hash" hash: field "mail"',
        'V "type" list → string',
        '> "only \\xff source" string of 4 bytes',
        '< "only target" set of 3 members',
        'T "expiry" expires never → 4000000000000 ms',
    ])  # fmt: skip
    lines = compared(source, target, "--show-diffs", "2").out.splitlines()
    assert lines[-2] == "3 more differences (--diff-file keeps all)"
    assert len(lines) == 6


@pytest.mark.covers("diff-file")
def test_the_diff_file_has_every_difference_by_its_schema(server: ServerFactory, tmp_path: Path) -> None:
    source, target = differing(server)
    file = tmp_path / "differences"
    file.write_text("old content\n" * 100)
    ran = compared(source, target, "--diff-file", str(file), "--json")
    validator("compare.schema.json").validate(json.loads(ran.out))
    assert json.loads(ran.out)["verify"]["diff_file"] == str(file)
    records = {}
    for line in file.read_text().splitlines():
        record = json.loads(line)
        validator("difference.schema.json").validate(record)
        records[record["key"]] = record
    assert len(records) == 5
    assert records["hash"] == {
        "key": "hash", "db": 0, "target_db": 0, "kind": "value", "side": "both", "where": 'field "mail"',
        "source": {"type": "hash", "size": 2, "expires_ms": None},
        "target": {"type": "hash", "size": 2, "expires_ms": None},
    }  # fmt: skip
    lost = records["only \ufffd source"]
    assert (lost["key_b64"], lost["kind"], lost["side"]) == ("b25seSD/IHNvdXJjZQ==", "only at source", "source")
    assert (lost["source"]["expires_ms"], lost["target"]) == (4_000_000_000_000, None)
    assert (records["type"]["source"]["type"], records["type"]["target"]["type"]) == ("list", "string")
    assert records["expiry"]["kind"] == "expiry"


def test_a_diff_file_that_cannot_be_written_is_told_at_once(server: ServerFactory, tmp_path: Path) -> None:
    ran = run_keyferry("compare", "127.0.0.1:1", "127.0.0.1:2", "--diff-file", str(tmp_path / "none" / "file"))
    assert ran.code == 2
    assert "--diff-file" in ran.err


def test_a_diff_file_names_keys_for_a_copy(server: ServerFactory, tmp_path: Path) -> None:
    source, target = differing(server)
    file = tmp_path / "differences"
    compared(source, target, "--diff-file", str(file))
    words = ("--keys-from", str(file), "--keys-format", "jsonl")
    ran = run_keyferry(*at(source), "replicate", *at(target), *words, env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:4 V:0 >:0 <:1 T:0"), ran.out
    assert [line for line in differences(source, target) if "only target" not in line] == []


def test_quiet_prints_the_verdict_only(server: ServerFactory) -> None:
    source, target = differing(server)
    ran = run_keyferry("-q", *at(source), "compare", *at(target))
    assert (ran.code, ran.out, ran.err) == (1, FOUND + "\n", "")


@pytest.mark.covers("repair", "prune")
@pytest.mark.parametrize("kind", ["6.2", "9.1"])
def test_a_repair_copies_what_differs_and_removes_only_what_it_may(kind: str, server: ServerFactory) -> None:
    source, target = differing(server, kind)
    ran = compared(source, target, "--repair")
    assert (ran.code, verdict_of(ran)) == (1, "OK:104 V:0 >:0 <:1 T:0")
    assert "repair             4 keys copied again, 0 removed" in ran.out
    assert b"only target" in keyspace(target)[0]
    ran = compared(source, target, "--repair", "--prune", "--json")
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["verdict"], verify["repaired"], verify["removed"]) == (0, "OK:104 V:0 >:0 <:0 T:0", 0, 1)
    validator("compare.schema.json").validate(json.loads(ran.out))
    assert_equal(source, target, ttl_tolerance_ms=20 if kind == "6.2" else 0)


def test_of_keys_that_are_named_no_others_are_removed(server: ServerFactory) -> None:
    source, target = differing(server)
    target.client.set("not named", "value")
    words = (*at(source), "compare", *at(target), "--keys-from", "-", "--repair", "--prune")
    names = b"hash\nonly target\nnobody's\n"
    ran = run_keyferry(*words, "--dry-run", input=names)
    planned = {'copy   V "hash" hash: field "mail"', 'remove < "only target" set of 3 members'}
    assert set(ran.out.splitlines()[:2]) == planned
    ran = run_keyferry(*words, "--json", input=names)
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["verdict"]) == (0, "OK:1 V:0 >:0 <:0 T:0"), ran.out
    assert (verify["repaired"], verify["removed"], verify["read"], verify["expired"]) == (1, 1, 3, 2)
    assert target.call("EXISTS", "only target") == 0
    assert target.call("EXISTS", "not named", "type") == 2


def test_a_dry_run_lists_what_a_repair_would_do(server: ServerFactory) -> None:
    source, target = differing(server)
    before = [one.info("persistence")["rdb_changes_since_last_save"] for one in (source, target)]
    ran = compared(source, target, "--repair", "--dry-run")
    assert ran.code == 1
    for line in ('copy   V "hash" hash: field "mail"', 'copy   > "only \\xff source" string of 4 bytes'):
        assert line in ran.out.splitlines()
    assert 'keep   < "only target" set of 3 members' in ran.out.splitlines()
    ran = compared(source, target, "--repair", "--prune", "--dry-run")
    assert 'remove < "only target" set of 3 members' in ran.out.splitlines()
    assert [one.info("persistence")["rdb_changes_since_last_save"] for one in (source, target)] == before


def test_a_dry_run_of_a_repair_is_one_object_where_that_is_asked(server: ServerFactory) -> None:
    source, target = differing(server)
    ran = compared(source, target, "--repair", "--dry-run", "--show-diffs", "10", "--json")
    told = json.loads(ran.out)
    validator("compare.schema.json").validate(told)
    assert (ran.code, told["verify"]["verdict"]) == (1, FOUND)
    assert told["verify"]["planned"] == {"copy": 4, "remove": 0, "keep": 1}
    assert len(told["verify"]["differences"]) == 5
    told = json.loads(compared(source, target, "--repair", "--prune", "--dry-run", "--json").out)
    assert told["verify"]["planned"] == {"copy": 4, "remove": 1, "keep": 0}
    told = json.loads(compared(source, target, "--json").out)
    validator("compare.schema.json").validate(told)
    assert told["verify"]["planned"] is None


def test_a_copy_repairs_itself_where_that_is_asked(server: ServerFactory) -> None:
    source, target = differing(server)
    ran = run_keyferry(*at(source), "replicate", *at(target), "--repair", "--prune", env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:104 V:0 >:0 <:0 T:0")
    assert_equal(source, target)


def test_a_live_copy_repairs_by_the_way_of_all_changes(server: ServerFactory) -> None:
    """What differs is read and written once more like a key that has changed, so in one order with those that do."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    with start_live(source, target, "--repair", "--idle-timeout", "1s") as run:
        wait_until(lambda: target.call("DBSIZE") == 100)
        target.call("SET", "key:7", "of others")
        target.call("DEL", "key:8")
        done = followed(run)
    assert done.ran.code == 0 and done.live["converged"], done.ran.err
    assert (done.live["keys"], done.told["verify"]["repaired"]) == (2, 2)
    assert_equal(source, target)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--prune",), "--prune needs --repair"),
        (("--dry-run",), "--dry-run needs --repair"),
        (("--repair", "--prune", "--limit", "5"), "--prune and --limit exclude each other"),
        (("--repair", "--on-conflict", "skip"), "forbids it"),
        (("--repair", "--no-verify"), "needs a verification"),
        (("--diff-file", "f", "--no-verify"), "needs a verification"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_does_not_go_together_is_told(words: tuple[str, ...], says: str) -> None:
    command = "compare" if words == ("--dry-run",) else "replicate"
    ran = run_keyferry(command, "127.0.0.1:1", "127.0.0.1:2", *words, env=VERIFIED)
    assert ran.code == 2
    assert says in ran.err


def test_what_the_target_cannot_take_is_put_aside(server: ServerFactory, tmp_path: Path) -> None:
    """8.2 writes lists in an encoding that 6.2 does not read."""
    source, target = server("8.2"), server("6.2")
    for one in (source, target):
        one.client.set("string", "one" if one is source else "other")
        one.client.rpush("list", "a", one.kind)
    aside = tmp_path / "aside"
    ran = compared(source, target, "--repair", "--put-aside", str(aside))
    assert (ran.code, verdict_of(ran)) == (1, "OK:1 V:1 >:0 <:0 T:0")
    assert [json.loads(line)["key"] for line in aside.read_text().splitlines()] == ["list"]
    assert 'not repaired "list" (db 0, list)' in ran.err and f"1 key not repaired: see {aside}" in ran.err


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_ten_thousand_planted_differences_are_mended(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    for one in (source, target):
        words = ("--keys", "30000", "--epoch", "2000000000", "--ttl-share", "25%", "--seed", "7")
        assert run_keyferry("generate", *at(one), *words).code == 0
    random = Random(1)
    keys = random.sample(sorted(keyspace(target)[0]), 9_000)
    plants = [
        lambda key: ("DEL", key),
        lambda key: ("PEXPIREAT", key, 4_000_000_000_000),
        lambda key: ("SET", key, "planted"),
    ]
    with target.connect() as connection:
        connection.pipeline([plants[n % 3](key) for n, key in enumerate(keys)])
        connection.pipeline([("SET", f"extra:{n}", "value") for n in range(1_000)])
    found = json.loads(compared(source, target, "--repair", "--json").out)["verify"]
    assert found["repaired"] >= 8_900 and found["removed"] == 0  # a planted expiry may be the key's own
    assert found["verdict"] == "OK:30000 V:0 >:0 <:1000 T:0"
    ran = compared(source, target, "--repair", "--prune")
    assert (ran.code, verdict_of(ran)) == (0, "OK:30000 V:0 >:0 <:0 T:0")
    assert_equal(source, target)
