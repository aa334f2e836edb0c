"""Users who may touch some keys only: a key that is refused is put aside alone, its neighbours are copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import differences
from tests.support.forbidden import FORBIDDEN, USERS, write_with_forbidden
from tests.support.processes import VERIFIED, Result, run_keyferry
from tests.support.summary import OUTCOMES, result_of

WAYS: dict[str, tuple[str, ...]] = {
    "usual": (),
    "dump": ("--method", "dump"),
    "atomic": ("--atomic",),
    "skip": ("--on-conflict", "skip"),
    "no ttl": ("--no-ttl",),
}


#: The usual way on all versions, all ways on one.
CASES = [(kind, "usual") for kind in ("6.2", "7.0", "8.2", "9.1")] + [("7.0", way) for way in WAYS if way != "usual"]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(("kind", "way"), CASES)
def test_only_the_keys_that_are_forbidden_are_put_aside(
    kind: str, side: str, way: str, server: ServerFactory, tmp_path: Path
) -> None:
    source = server(kind, acl=USERS) if side == "source" else server(kind)
    target = server(kind, acl=USERS) if side == "target" else server(kind)
    write_with_forbidden(source)
    target.call("SET", "other", "value")  # so that it is asked which keys exist
    login = ("--user", "bob", "-a", "pw")
    words = [*at(source), *(login * (side == "source")), "replicate", *at(target), *(login * (side == "target"))]
    listed = tmp_path / "aside.jsonl"
    ran = run_keyferry(*words, "--put-aside", str(listed), "--json", *WAYS[way])
    assert ran.code == 1, ran.err
    told = result_of(ran)
    assert (told["keys"], told["put_aside"], told["read"]) == (350, 3, 353)
    records = [json.loads(line) for line in listed.read_text().splitlines()]
    assert {record["key"].encode() for record in records} == set(FORBIDDEN)
    assert all(f"{side}: NOPERM" in record["reason"] for record in records)
    source.call("DEL", *FORBIDDEN)
    target.call("DEL", "other")
    assert differences(source, target) == []


def proved(server: ServerFactory, *words: str) -> tuple[Result, str]:
    """A copy to a user who may write one of 100 keys and not read it: as JSON, and the table of the same once more."""
    source = server("7.0")
    target = server("7.0", acl=("user default on nopass ~* &* +@all", "user bob on >pw ~open:* %W~secret:* &* +@all"))
    with source.connect() as connection:
        connection.pipeline([("SET", b"open:%d" % number, b"value") for number in range(99)])
        connection.must("SET", "secret:string", "value")
    line = (*at(source), "replicate", *at(target), "--user", "bob", "-a", "pw", *words)
    return run_keyferry(*line, "--json", env=VERIFIED), run_keyferry(*line, env=VERIFIED).out


def check_that_one_was_not_read(ran: Result, table: str) -> None:
    told = result_of(ran)
    verify = told["verify"]
    assert (told["keys"], told["unreadable"], verify["unreadable"]) == (100, 1, 1)
    assert verify["read"] == 100 == sum(verify[outcome] for outcome in OUTCOMES)
    assert 'warning: 1 key could not be read; the first is "secret:string" (db 0): target: NOPERM' in ran.err
    assert "· retried 0 · unreadable 1\n" in table and table.endswith("OK:99 V:0 >:0 <:0 T:0\n")
    assert max(map(len, table.splitlines())) <= 80


def test_a_key_that_cannot_be_read_for_the_proof_is_counted_and_named(server: ServerFactory) -> None:
    """It may have arrived or not: that is an outcome of its own, and a reason not to exit with 0."""
    ran, table = proved(server)
    assert ran.code == 1
    check_that_one_was_not_read(ran, table)


def test_a_key_that_cannot_be_read_for_the_proof_keeps_a_live_copy_from_converging(server: ServerFactory) -> None:
    ran, table = proved(server, "--live", "--idle-timeout", "500")
    assert not result_of(ran)["live"]["converged"] and ran.code != 0, ran.err
    check_that_one_was_not_read(ran, table)
