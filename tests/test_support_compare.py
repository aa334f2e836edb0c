"""The comparison of two servers finds every kind of difference, and reports nothing of equal servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.compare import all_keys, assert_equal, differences, lost
from tests.support.dataset import fill
from tests.support.matrix import pairs
from tests.support.servers import Server
from tests.support.shapes import FAR_MS
from tests.support.wire import Command

GROUPED: list[Command] = [
    ("XADD", "stream", "1-1", "f", "v"),
    ("XADD", "stream", "2-1", "f", "v"),
    ("XADD", "stream", "3-1", "f", "v"),
    ("XGROUP", "CREATE", "stream", "group", "0"),
    ("XREADGROUP", "GROUP", "group", "ann", "COUNT", 2, "STREAMS", "stream", ">"),
    ("XCLAIM", "stream", "group", "ann", 0, "1-1", "2-1", "TIME", 1_700_000_000_000, "RETRYCOUNT", 1),
]

PLAIN: list[Command] = [
    ("SET", "string", b"value \x00\xff"),
    ("SET", "expiring", "value", "PXAT", FAR_MS),
    ("SET", b"", "of the empty key"),
    ("RPUSH", "list", "a", "b", "c"),
    ("SADD", "set", "a", "b", "c"),
    ("HSET", "hash", "f", "v", "g", "w"),
    ("ZADD", "zset", 0, "zero", 0.1, "a"),
    *GROUPED,
]

FIELD_EXPIRY: Command = ("HPEXPIREAT", "hash", FAR_MS, "FIELDS", 1, "f")

# What is changed on the target after both got the same, and what the comparison must say then.
PLANTED: list[tuple[str, Command, str]] = [
    ("a missing key", ("DEL", "string"), "b'string': missing on the target"),
    ("the missing empty key", ("DEL", b""), "b'': missing on the target"),
    ("an extra key", ("SET", "extra", "x"), "b'extra': only on the target"),
    ("another type", ("SUNIONSTORE", "list", "set"), "b'list': type list became set"),
    ("a changed byte", ("SETRANGE", "string", 6, b"\x01"), "b'string': another value (string)"),
    ("a changed element", ("LSET", "list", 1, "B"), "b'list': another value (list)"),
    ("another order of a list", ("LMOVE", "list", "list", "LEFT", "RIGHT"), "b'list': another value (list)"),
    ("a missing member", ("SREM", "set", "b"), "b'set': another value (set)"),
    ("a changed field", ("HSET", "hash", "f", "V"), "b'hash': another value (hash)"),
    ("the least change of a score", ("ZADD", "zset", "0.10000000000000002", "a"), "b'zset': another value (zset)"),
    ("a missing member", ("ZREM", "zset", "zero"), "b'zset': another value (zset)"),
    ("a missing expiry", ("PERSIST", "expiring"), "b'expiring': lost its expiry"),
    ("an expiry too many", ("PEXPIREAT", "list", FAR_MS), "b'list': expires on the target only"),
    ("a stream's missing entry", ("XDEL", "stream", "3-1"), "b'stream': another value (stream)"),
    ("a stream's last id", ("XSETID", "stream", "9-9"), "b'stream': last-generated-id b'3-1' became b'9-9'"),
    ("an acknowledged entry", ("XACK", "stream", "group", "1-1"), "b'stream': groups b'group': consumers b'ann'"),
    ("a missing group", ("XGROUP", "DESTROY", "stream", "group"), "b'stream': groups b'group': missing"),
    ("an idle consumer", ("XGROUP", "CREATECONSUMER", "stream", "group", "bob"), "consumers b'bob': only on"),
    ("a group's position", ("XGROUP", "SETID", "stream", "group", "3-1"), "b'group': last-delivered-id b'2-1'"),
    (
        "an entry's other delivery count",
        ("XCLAIM", "stream", "group", "ann", 0, "1-1", "TIME", 1_700_000_000_000, "RETRYCOUNT", 7),
        "b'stream': groups b'group': consumers b'ann': pending",
    ),
]


@pytest.fixture
def pair(server: ServerFactory) -> Callable[..., tuple[Server, Server]]:
    """Two servers that were given the same commands."""

    def make(kind: str, commands: list[Command], other_kind: str = "") -> tuple[Server, Server]:
        pair = server(kind), server(other_kind or kind)
        for one in pair:
            with one.connect() as connection:
                for command in commands:
                    connection.must(*command)
        return pair

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_every_planted_difference_is_found_and_nothing_else(pair: Any, kind: str) -> None:
    source, target = pair(kind, [])
    for name, change, said in PLANTED:
        for one in (source, target):
            with one.connect() as connection:
                connection.must("FLUSHALL")
                for command in PLAIN:
                    connection.must(*command)
        assert differences(source, target) == [], name
        target.call(*change)
        found = differences(source, target)
        assert any(said in line for line in found), (name, found)
        assert len({line.split(":")[0] for line in found}) == 1, found


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_an_expiry_that_is_off_by_a_millisecond_is_found(pair: Any, kind: str) -> None:
    source, target = pair(kind, PLAIN)
    target.call("PEXPIREAT", "expiring", FAR_MS + 1)
    assert differences(source, target) == [f"b'expiring': expires at {FAR_MS + 1} instead of {FAR_MS} ms"]
    assert differences(source, target, ttl_tolerance_ms=1) == []


@pytest.mark.parametrize("pair_of_kinds", [("6.2", "6.2"), ("6.2", "9.1")])
def test_an_expiry_on_6_2_is_known_to_a_few_milliseconds(pair: Any, pair_of_kinds: tuple[str, str]) -> None:
    source, target = pair(pair_of_kinds[0], PLAIN, pair_of_kinds[1])
    assert differences(source, target) == []
    target.call("PEXPIREAT", "expiring", FAR_MS + 15)
    assert len(differences(source, target)) == 1
    assert differences(source, target, ttl_tolerance_ms=20) == []


@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_the_expiry_of_a_field_is_compared(pair: Any, kind: str) -> None:
    source, target = pair(kind, [*PLAIN, FIELD_EXPIRY])
    assert differences(source, target) == []
    target.call("HPEXPIREAT", "hash", FAR_MS + 1, "FIELDS", 1, "f")
    assert len(differences(source, target)) == 1
    target.call("HPERSIST", "hash", "FIELDS", 1, "f")
    assert len(differences(source, target)) == 1
    assert len(differences(target, source)) == 1


def test_a_field_that_expires_only_on_the_newer_server_is_found(pair: Any) -> None:
    source, target = pair("6.2", PLAIN, "9.1")
    target.call(*FIELD_EXPIRY)
    assert differences(source, target) == [f"b'hash': field b'f' expires at {FAR_MS} instead of None ms"]


RE_ENCODED = [
    ("set-max-intset-entries", 1),
    ("hash-max-ziplist-entries", 1),
    ("zset-max-ziplist-entries", 1),
    ("list-max-ziplist-size", 1),
    ("stream-node-max-entries", 2),
    ("set-max-listpack-entries", 1),
]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_values_in_other_encodings_are_equal(server: ServerFactory, kind: str) -> None:
    source, target = server(kind), server(kind)
    for setting, value in RE_ENCODED:
        target.call("CONFIG", "SET", setting, value)
    now_ms = FAR_MS
    summary = fill(source, 300, now_ms=now_ms)
    fill(target, 300, now_ms=now_ms)
    small = summary.examples["hash small"]
    assert source.call("OBJECT", "ENCODING", small) != target.call("OBJECT", "ENCODING", small) == b"hashtable"
    assert_equal(source, target, ttl_tolerance_ms=0)


@pairs
def test_equal_data_on_both_sides_of_a_pair_is_equal(server: ServerFactory, kinds: tuple[str, str]) -> None:
    source, target = server(kinds[0]), server(kinds[1])
    fill(source, 500)
    with source.connect() as left, target.connect() as right:
        for key in all_keys(source):
            left_ms, payload = left.pipeline([("PTTL", key), ("DUMP", key)])
            right.must("RESTORE", key, max(left_ms, 0), payload)
    assert_equal(source, target, ttl_tolerance_ms=100)


def test_databases_are_compared_as_mapped(pair: Any) -> None:
    source, target = pair("7.0", [])
    for one, db in ((source, 3), (target, 5)):
        with one.connect(db) as connection:
            connection.must("SET", "k", "v")
    assert differences(source, target, db=3, target_db=5) == []
    assert differences(source, target, db=3) == ["b'k': missing on the target"]
    assert differences(source, target) == []


def test_the_number_of_lines_is_bounded(pair: Any) -> None:
    source, target = pair("7.0", [("MSET", *(word for n in range(1_500) for word in (f"k{n}", "v")))])
    target.call("FLUSHALL")
    assert len(differences(source, target)) == 20
    assert len(differences(source, target, limit=3)) == 3
    with pytest.raises(AssertionError, match=r"7\.0 and 7\.0 differ:\n  b'k0': missing"):
        assert_equal(source, target)


def test_lost_names_the_keys_that_are_not_there(pair: Any) -> None:
    _, target = pair("9.1", [("MSET", "a", 1, b"\xff", 2)])
    assert lost([b"a", b"\xff"], target) == []
    assert lost([b"a", b"b", b"\xff"], target) == [b"b"]
    assert lost([b"a"], target, db=1) == [b"a"]


def test_a_key_whose_time_comes_while_it_is_looked_at_is_no_difference(pair: Any) -> None:
    source, target = pair("6.2", [])
    source.call("SET", "ends", "v", "PX", 200)
    source.call("SET", "stays", "v", "EX", 100)
    assert differences(source, target) == ["b'stays': missing on the target"]
