"""Users who may touch some keys only: a key that is refused is put aside alone, its neighbours are copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import differences
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of
from tests.test_options import at

USERS = ("user default on nopass ~* &* +@all", "user bob on >pw ~open:* &* +@all")
FORBIDDEN = (b"secret:string", b"secret:hash", b"secret:expiring")
WAYS: dict[str, tuple[str, ...]] = {
    "usual": (),
    "dump": ("--method", "dump"),
    "atomic": ("--atomic",),
    "skip": ("--on-conflict", "skip"),
    "no ttl": ("--no-ttl",),
}


def write(source: Server) -> None:
    with source.connect() as connection:
        connection.pipeline([("SET", b"open:%d" % number, b"value") for number in range(300)])
        connection.pipeline([("HSET", b"open:hash:%d" % number, b"field", b"value") for number in range(50)])
        connection.must("SET", "secret:string", "value")
        connection.must("HSET", "secret:hash", "field", "value")
        connection.must("SET", "secret:expiring", "value", "PX", 10_000_000)


#: The usual way on all versions, all ways on one.
CASES = [(kind, "usual") for kind in ("6.2", "7.0", "8.2", "9.1")] + [("7.0", way) for way in WAYS if way != "usual"]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(("kind", "way"), CASES)
def test_only_the_keys_that_are_forbidden_are_put_aside(
    kind: str, side: str, way: str, server: ServerFactory, tmp_path: Path
) -> None:
    source = server(kind, acl=USERS) if side == "source" else server(kind)
    target = server(kind, acl=USERS) if side == "target" else server(kind)
    write(source)
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
