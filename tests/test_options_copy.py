"""What the options of `replicate` do to the copy itself: seen by MONITOR, and by what the servers hold afterwards."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.filling import keyspace, write_strings
from tests.support.hooks import At
from tests.support.monitor import Executed, Monitor, connection_names
from tests.support.processes import VERIFIED, run_keyferry, start_keyferry
from tests.support.respproxy import Proxy
from tests.support.servers import Server
from tests.support.summary import result_of


@pytest.fixture
def three(server: ServerFactory) -> tuple[Server, Server]:
    """A source with keys in databases 0, 3 and 5, and a target."""
    source, target = server("7.0"), server("9.1")
    for db in (0, 3, 5):
        write_strings(source, 20, db=db, prefix=f"of{db}:")
    return source, target


@pytest.mark.covers("dbs")
@pytest.mark.parametrize(("words", "chosen"), [("0,3", (0, 3)), ("all", (0, 3, 5))])
def test_databases_are_chosen_and_keep_their_numbers(
    words: str, chosen: tuple[int, ...], three: tuple[Server, Server]
) -> None:
    source, target = three
    copied(source, target, "--dbs", words)
    held = keyspace(source)
    assert keyspace(target) == {db: held[db] for db in chosen}


@pytest.mark.parametrize(("words", "renamed"), [(("replicate",), "0:1,1:0"), (("compare", "--repair"), "1:2,0:1")])
def test_databases_of_one_server_are_not_read_and_written_at_once(
    words: tuple[str, ...], renamed: str, server: ServerFactory
) -> None:
    one = server("7.0")
    write_strings(one, 100, db=0)
    write_strings(one, 50, db=1, prefix="other:")
    before = keyspace(one)
    ran = run_keyferry(*at(one), *words, *at(one), "--db-map", renamed)
    assert ran.code == 6 and "would be read and written to at once" in ran.err, ran.out
    assert keyspace(one) == before
    copied(one, one, "--db-map", "0:2,1:3")
    assert keyspace(one) == before | {2: before[0], 3: before[1]}


@pytest.mark.covers("db-map")
def test_databases_get_the_numbers_of_the_map(three: tuple[Server, Server]) -> None:
    source, target = three
    copied(source, target, "--db-map", "0:2,3:1")
    held = keyspace(source)
    assert keyspace(target) == {2: held[0], 1: held[3]}


@pytest.mark.covers("merge-dbs")
def test_two_databases_go_into_one_only_where_that_is_said(three: tuple[Server, Server]) -> None:
    source, target = three
    refused = run_keyferry(*at(source), "replicate", *at(target), "--db-map", "0:2,3:2")
    assert refused.code == 2
    assert keyspace(target) == {}
    copied(source, target, "--db-map", "0:2,3:2", "--merge-dbs")
    held = keyspace(source)
    assert keyspace(target) == {2: held[0] | held[3]}


@pytest.mark.covers("workers")
def test_each_worker_names_its_connections_by_job_and_number(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 20_000)
    with Monitor(source) as reads, Monitor(target) as writes:
        ran = copied(source, target, "--workers", "3", "--json")
    for monitor in (reads, writes):
        found = [re.fullmatch(rb"keyferry:([0-9a-f]{8}):(\d+)", name) for name in connection_names(monitor.commands)]
        assert {match[2] for match in found if match} == {b"1", b"2", b"3"}
        assert len({match[1] for match in found if match}) == 1
    assert result_of(ran)["workers"] == 3


@pytest.mark.covers("scan-count")
def test_no_scan_asks_for_more_than_the_count(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 3_000)
    with Monitor(source) as reads:
        copied(source, target, "--scan-count", "70")
    assert max(int(one.args[3]) for one in reads.commands if one.name == "SCAN") == 70


@pytest.mark.covers("batch")
def test_no_window_has_more_keys_than_the_batch(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 1_000)
    with Monitor(source) as reads, Monitor(target) as writes:
        copied(source, target, "--batch", "7")
    assert max(len(one.args) - 1 for one in reads.commands if one.name == "MGET") == 7
    assert max(len(one.args) // 2 for one in writes.commands if one.name == "MSET") == 7


#: By method: whether all strings are dumped, whether none is. `auto` turns to DUMP where few keys are strings.
METHODS = {"dump": (True, False), "native": (False, True), "auto": (False, False)}


@pytest.mark.covers("method")
@pytest.mark.parametrize("method", METHODS)
def test_the_method_decides_how_strings_are_read(method: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 200)
    with source.connect() as connection:
        connection.pipeline(("HSET", f"hash:{number}", "field", number) for number in range(1_800))
    with Monitor(source) as reads, Monitor(target) as writes:
        copied(source, target, "--method", method)
    strings = keys_of(reads.commands, "DUMP", b"key:")
    assert (len(strings) == 200, not strings) == METHODS[method]
    assert len(keys_of(writes.commands, "RESTORE", b"key:")) == len(strings)
    assert ("MGET" in reads.names()) == (method != "dump")
    assert_equal(source, target)


def keys_of(commands: Iterable[Executed], name: str, prefix: bytes) -> set[bytes]:
    """The keys with a prefix that came first in commands of a name."""
    return {one.args[1] for one in commands if one.name == name and one.args[1].startswith(prefix)}


@pytest.mark.covers("no-verify")
def test_what_was_not_verified_is_told(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 20)
    words = (*at(source), "replicate", *at(target))
    plain, meant = run_keyferry(*words, env=VERIFIED), run_keyferry(*words, "--no-verify", env=VERIFIED)
    assert plain.out.splitlines()[-1] == "OK:20 V:0 >:0 <:0 T:0"
    assert "OK:" not in meant.out
    assert "verify    not done (--no-verify)" in meant.out.splitlines()


@pytest.mark.covers("wait-for")
@pytest.mark.parametrize("late", ["source", "target"])
def test_a_server_that_is_started_later_is_waited_for(late: str, server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0", fresh=True)
    write_strings(source, 20)
    one = source if late == "source" else target
    with source.connect() as connection:
        connection.must("SAVE")
    one.kill()
    with start_keyferry(*at(source), "replicate", *at(target), "--wait-for", "30s") as run:
        run.wait_for_text(f"waiting: {late} {one.address}")
        time.sleep(1)
        assert run.running
        one.start()
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert_equal(source, target)


@pytest.mark.covers("wait-for")
def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_was_said(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    target.kill()
    for words in ((), ("--wait-for", "2s")):
        ran = run_keyferry(*at(source), "replicate", *at(target), *words)
        assert ran.code == 4
        assert ("waiting: " in ran.err) == bool(words), ran.err
    assert ran.seconds >= 2


@pytest.mark.covers("put-aside")
def test_keys_that_cannot_be_copied_are_listed_in_the_file_that_was_named(
    server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server("8.2"), server("7.0")
    fill(source, 40)
    named = tmp_path / "named.jsonl"
    words = (*at(source), "replicate", *at(target))
    assert run_keyferry(*words, cwd=str(tmp_path)).code == 1
    (usual,) = tmp_path.iterdir()
    assert re.fullmatch(r"keyferry-put-aside-\d{8}-\d{6}-\d+\.jsonl", usual.name)
    ran = run_keyferry(*words, "--put-aside", str(named), cwd=str(tmp_path))
    assert ran.code == 1, ran.err
    assert f"put aside, listed in {named}:" in ran.out
    lines = named.read_text().splitlines()
    assert sorted(lines) == sorted(usual.read_text().splitlines())
    assert named.stat().st_mode & 0o777 == 0o600
    assert all({"key", "db", "type", "size", "reason"} <= json.loads(line).keys() for line in lines)


@pytest.mark.covers("put-aside")
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["copied", "planned"])
def test_where_no_list_could_be_made_that_is_told_before_the_first_key(
    words: tuple[str, ...], server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20)
    ran = copied(source, target, *words, cwd="/proc")  # no file can be made there
    assert ran.err.count("no put-aside file can be made here") == 1
    named = copied(source, target, *words, "--put-aside", str(tmp_path / "named"), cwd="/proc")
    assert "no put-aside file" not in named.err


@pytest.mark.covers("put-aside")
def test_a_repair_refuses_a_list_that_cannot_be_made(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20)
    ran = run_keyferry(*at(source), "compare", *at(target), "--repair", "--put-aside", str(tmp_path))
    assert ran.code == 2
    assert f"--put-aside {tmp_path}: Is a directory" in ran.err
    assert target.call("DBSIZE") == 0


@pytest.mark.covers("put-aside")
def test_no_file_is_made_where_nothing_is_put_aside(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20)
    copied(source, target, "--put-aside", str(tmp_path / "named"), cwd=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.covers("dry-run")
def test_a_dry_run_writes_nothing(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20)
    assert "nothing was written" in copied(source, target, "--dry-run").out
    assert keyspace(target) == {}


@pytest.mark.covers("retry-for")
def test_a_server_that_is_gone_is_missed_for_as_long_as_said(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 3_000)
    with Proxy(target, At(3, target.kill)) as proxy:
        ran = run_keyferry(*at(source), "replicate", *at(proxy), "--batch", "20", "--retry-for", "2s")
    assert ran.code == 5
    assert "error: target" in ran.err
    missed = re.search(r" for (\d+) s", ran.err)
    assert missed and 2 <= int(missed[1]) < 30  # at a busy machine a second or two more; the default is a minute
