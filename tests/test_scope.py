"""A live copy with filters writes no value that does not pass, though it asks about a key before it reads it."""

from __future__ import annotations

from typing import Any

import pytest

from keyferry.workers.expiry import NEVER, Clock
from keyferry.workers.filters import Filters
from keyferry.workers.scope import SLACK_MS, Scope, scope_of, type_of
from keyferry.workers.structs.payload import string_bytes
from tests.conftest import ServerFactory
from tests.support.binaries import KINDS, bloom
from tests.support.compare import all_keys
from tests.support.dataset import fill
from tests.support.live import UNTIL_A_SIGNAL, cut_over, start_live, wait_until, wait_until_followed
from tests.support.respproxy import Args, Hooks, Proxy
from tests.support.servers import Server


class BecomesAList(Hooks):
    """The key becomes a list when the source has just told, for the `turn`th time, that it is a string."""

    def __init__(self, source: Server, by: bytes, turn: int) -> None:
        self.replies_of = frozenset({by})
        self.source, self.left = source, turn

    def on_reply(self, args: Args, reply: Any) -> Any:
        is_scan = args[0] == b"SCAN" and args[2:4] != [b"COUNT", b"1"]  # the plan asks for one key
        if (is_scan and b"TYPE" in args and b"key" in reply[1]) or (args[1], reply) == (b"key", b"string"):
            self.left -= 1
            if self.left == 0:
                with self.source.connect() as connection:
                    connection.pipeline([(b"DEL", b"key"), (b"RPUSH", b"key", b"element")])
        return reply


class Grows(Hooks):
    """The key becomes long when the source has told for the first time how long it is."""

    replies_of = frozenset({b"STRLEN"})

    def __init__(self, source: Server) -> None:
        self.source, self.grown = source, False

    def on_reply(self, args: Args, reply: Any) -> Any:
        if args[1] == b"key" and not self.grown:
            self.grown = True
            self.source.call("SET", "key", "x" * 500)
        return reply


@pytest.mark.parametrize(
    ("by", "turn", "words"),
    [
        (b"SCAN", 1, ("--type", "string")),
        (b"TYPE", 1, ("--type", "string,zset")),
        (b"TYPE", 2, ("--type", "string,zset")),
        (b"TYPE", 2, ("--type", "string,zset", "--method", "dump")),
        (b"TYPE", 1, ("--type", "string")),
    ],
    ids=["scanned", "sifted", "changed", "changed, dumped", "changed, scanned"],
)
def test_a_key_that_becomes_another_between_question_and_reading_is_not_written(
    by: bytes, turn: int, words: tuple[str, ...], server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "key", "1", "other", "1")
    becomes = BecomesAList(source, by, turn)
    with Proxy(source, becomes) as proxy, start_live(proxy, target, *words, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("EXISTS", "other") == 1)
        if becomes.left > 0:
            wait_until(lambda: target.call("EXISTS", "key") == 1)
            source.call("SET", "key", "2")
        wait_until(lambda: becomes.left <= 0)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert all_keys(target) == {b"other", b"marker"}


def test_nor_where_keys_are_tried_one_by_one(server: ServerFactory) -> None:
    """Because of one that we may not write."""
    words = "user default on nopass &* ~key ~other ~marker ~keyferry:* +@all"
    source, target = server("7.0"), server("7.0", acl=[words])
    source.call("MSET", "key", "1", "other", "1", "forbidden", "1")
    with Proxy(source, BecomesAList(source, b"TYPE", 1)) as proxy:
        with start_live(proxy, target, "--type", "string,zset", *UNTIL_A_SIGNAL) as run:
            wait_until(lambda: target.call("EXISTS", "other") == 1)
            source.call("SET", "marker", "1")
            wait_until_followed(target)
            done = cut_over(run)
    assert done.told["put_aside"] == 1, done.ran.out
    assert all_keys(target) == {b"other", b"marker"}


@pytest.mark.parametrize("how", ["native", "dump"])
def test_a_string_that_grows_between_question_and_reading_is_not_written(how: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "key", "1", "other", "1")
    words = ("--max-size", "100", "--method", how, *UNTIL_A_SIGNAL)
    with Proxy(source, Grows(source)) as proxy, start_live(proxy, target, *words) as run:
        wait_until(lambda: target.call("EXISTS", "other") == 1)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert done.told["skipped"] == 1, done.ran.err
    assert all_keys(target) == {b"other", b"marker"}


@pytest.mark.parametrize("kind", KINDS)
def test_how_long_a_string_is_its_payload_tells(kind: str, server: ServerFactory) -> None:
    held = server(kind)
    values = ["", "7", "-7", "-129", "70000", "x" * 63, "x" * 64, "ab" * 9000, str(2**40), "".join(map(chr, range(99)))]
    for value in values:
        held.call("SET", "key", value)
        assert string_bytes(held.call("DUMP", "key")) == held.call("STRLEN", "key")
    assert string_bytes(b"\x00") is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_of_a_payload_is_the_one_that_the_server_tells(kind: str, server: ServerFactory) -> None:
    held = server(kind, modules=[bloom()])
    fill(held, 200, extras=["vector set"])
    for command in (("BF.ADD", "bloom", "a"), ("CF.ADD", "cuckoo", "a"), ("TDIGEST.CREATE", "digest")):
        held.call(*command)
    kinds = {key: held.call("TYPE", key).decode() for key in all_keys(held)}
    assert {key: type_of(held.call("DUMP", key)) for key in kinds} == kinds
    assert len(set(kinds.values())) >= 9


def test_what_is_not_known_passes() -> None:
    scope = Scope(frozenset({"list"}))
    assert type_of(b"\xfanew") == type_of(b"\x06\x81oldmodule") == ""
    assert scope.takes(b"\xfanew", NEVER, True)
    assert not scope.takes(b"\x00string", NEVER, True)
    assert scope_of(Filters(match=b"a*"), Clock(True)) is None
    assert scope_of(Filters(ends_from_ms=5), Clock(True, wanted=False)) is None


def test_lengths_and_expiries_are_looked_at_in_the_targets_clock() -> None:
    scope = scope_of(Filters(max_bytes=3, ends_from_ms=50_000, ends_until_ms=60_000), Clock(True, shift_ms=7_000))
    assert scope is not None
    assert scope.takes(b"abc", 57_000, False) and not scope.takes(b"abcd", 57_000, False)
    assert scope.takes(b"\x00\x03abc", 67_000, True) and not scope.takes(b"\x00\x04abcd", 67_000, True)
    assert scope.takes(b"\x01a list", 67_000, True)
    assert not scope.takes(b"abc", 57_000 - SLACK_MS - 1, False)
    assert not scope.takes(b"abc", 67_000 + SLACK_MS + 1, False)
    assert not scope.takes(b"abc", NEVER, False)
    assert scope_of(Filters(ends_from_ms=50_000), Clock(True)).takes(b"abc", NEVER, False)  # type: ignore[union-attr]
