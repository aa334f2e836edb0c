"""Collections compared whole: what is read of them, what counts as the same, and what is left to be looked at alone."""

from __future__ import annotations

import random
import time
from itertools import groupby
from typing import Any

import pytest

from keyferry.workers.budget import WINDOW_BYTES
from keyferry.workers.elements import CLOSELY, MOST_BYTES, PAYLOAD, kind_of_both, same_of
from tests.conftest import ServerFactory
from tests.support.commands import at, compared, verdict_of
from tests.support.dataset import fill
from tests.support.live import wait_until
from tests.support.monitor import Monitor
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server

#: Commands that a comparison sends where it looks at a key alone, and nowhere else.
LOOKS = {"LLEN", "SCARD", "HLEN", "ZCARD", "XLEN", "XPENDING", "XRANGE", "HSCAN", "SSCAN", "GETRANGE"}
WHOLE = {"DUMP", "SMEMBERS", "HGETALL"}


def names(seen: Monitor, keys: str) -> set[str]:
    """The commands about keys that begin so; others ask, of a key that nobody has, whether they are allowed."""
    return {one.name for one in seen.commands if len(one.args) > 1 and one.args[1].startswith(keys.encode())}


@pytest.mark.parametrize("pair", [("7.0", "7.0"), ("6.2", "7.0"), ("7.0", "8.2"), ("7.0", "9.1")], ids="-".join)
def test_small_keys_of_all_types_are_compared_without_a_look_at_any(
    pair: tuple[str, str], server: ServerFactory
) -> None:
    source, target = (server(kind) for kind in pair)
    run_keyferry("generate", *at(source), "--keys", "2000", "--elements", "1-20")
    run_keyferry(*at(source), "replicate", *at(target))
    with Monitor(source) as at_source, Monitor(target) as at_target:
        ran = compared(source, target)
    assert (ran.code, verdict_of(ran)) == (0, "OK:2000 V:0 >:0 <:0 T:0"), ran.out
    asked = names(at_source, "key:") | names(at_target, "key:")
    assert asked & WHOLE == WHOLE and not asked & LOOKS


def test_large_collections_are_read_in_pieces_only(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    words = [f"{number:06}" * 20 for number in range(2_000)]
    for one in (source, target):
        one.call("SADD", "large:set", *words)
        one.call("HSET", "large:hash", *(part for word in words for part in (word, word)))
        one.call("RPUSH", "large:list", *words)
    with Monitor(source) as at_source, Monitor(target) as at_target:
        ran = compared(source, target)
    assert (ran.code, verdict_of(ran)) == (0, "OK:3 V:0 >:0 <:0 T:0"), ran.out
    asked = names(at_source, "large:") | names(at_target, "large:")
    assert {"HSCAN", "SSCAN", "LRANGE"} <= asked and not asked & WHOLE


@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_a_field_that_only_the_target_has_is_found_where_one_of_the_sources_has_expired(
    kind: str, server: ServerFactory
) -> None:
    """It lies there uncollected, and counts in HLEN: both sides tell as many."""
    source, target = server(kind, fresh=True), server(kind, fresh=True)
    fields = [word for number in range(3_000) for word in (f"field:{number}", "x" * 40)]
    for one in (source, target):
        one.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        one.call("HSET", "hash", *fields)
    source.call("HPEXPIRE", "hash", 1, "FIELDS", 1, "field:5")
    target.call("HDEL", "hash", "field:5")
    assert verdict_of(compared(source, target)) == "OK:1 V:0 >:0 <:0 T:0"
    target.call("HSET", "hash", "extra", "x")
    ran = compared(source, target, "--show-diffs", "1")
    assert source.call("HLEN", "hash") == target.call("HLEN", "hash") == 3_000
    assert (ran.code, verdict_of(ran)) == (1, "OK:0 V:1 >:0 <:0 T:0"), ran.out
    assert 'hash: field "extra"' in ran.out


@pytest.mark.parametrize("fields", [2, 3_000])
@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_a_hash_of_which_all_fields_have_expired_is_no_difference(
    kind: str, fields: int, server: ServerFactory
) -> None:
    """Clients see nothing in it. One side has collected it, the other one has not yet."""
    source, target = server(kind, fresh=True), server(kind, fresh=True)
    every = [f"field:{number}" for number in range(fields)]
    source.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    for one in (source, target):
        one.call("HSET", "other", "field", "value")
    source.call("HSET", "hash", *(word for name in every for word in (name, "value")))
    source.call("HPEXPIRE", "hash", 1, "FIELDS", fields, *every)
    wait_until(lambda: source.call("HGETALL", "hash") == [])
    assert (source.call("TYPE", "hash"), source.call("HLEN", "hash")) == (b"hash", fields)
    for one, another in ((source, target), (target, source)):
        ran = compared(one, another)
        assert (ran.code, verdict_of(ran)) == (0, "OK:1 V:0 >:0 <:0 T:0"), ran.out
    source.call("HSET", "hash", "field", "value")
    assert verdict_of(compared(source, target)) == "OK:1 V:0 >:1 <:0 T:0"
    assert verdict_of(compared(target, source)) == "OK:1 V:0 >:0 <:1 T:0"


class LateTarget(Hooks):
    """The target is asked for the hash when a field of it has expired that the source has just told."""

    def __init__(self, source: Server) -> None:
        self.source, self.asked = source, 0

    def on_command(self, args: Args) -> Answer:
        if args[:2] == [b"HGETALL", b"hash"] and not self.asked:
            self.asked += 1
            wait_until(lambda: self.source.call("HMGET", "hash", "ends") == [None])
        return args


@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_a_hash_of_which_a_field_expires_between_two_readings_is_looked_at_again(
    kind: str, server: ServerFactory
) -> None:
    """Servers do not count what expires as a change."""
    source, target = server(kind), server(kind)
    for one in (source, target):
        one.call("HSET", "hash", "stays", "value")
    source.call("HSET", "hash", "ends", "value")
    source.call("HPEXPIRE", "hash", 4_000, "FIELDS", 1, "ends")
    hooks = LateTarget(source)
    with Proxy(target, hooks) as proxy:
        ran = compared(source, proxy)
    assert hooks.asked, "it took too long to ask: this test shows nothing"
    assert (ran.code, verdict_of(ran)) == (0, "OK:1 V:0 >:0 <:0 T:0"), ran.out


@pytest.mark.parametrize("kind", ["8.2", "9.1"])
@pytest.mark.parametrize("fields", [3, 2_000])
@pytest.mark.parametrize("tolerance", ["100ms", "1h"])
def test_a_field_that_has_expired_at_the_source_may_live_on_for_the_tolerance(
    tolerance: str, fields: int, kind: str, server: ServerFactory
) -> None:
    """As a key may. One that only the target has lost is lost, whatever the tolerance."""
    source, target = server(kind), server(kind)
    now_ms = int(time.time() * 1000)
    for one, ends_ms in ((source, now_ms + 50), (target, now_ms + 1_800_000)):
        for name in ("outlived", "lives", "lost"):
            one.call("HSET", name, *[word for number in range(fields) for word in (f"f{number}", "value")])
        one.call("HPEXPIREAT", "outlived", ends_ms, "FIELDS", 1, "f1")
    source.call("HPEXPIREAT", "lost", now_ms + 1_800_000, "FIELDS", 1, "f1")
    target.call("HDEL", "lost", "f1")
    target.call("HSET", "lives", "more", "value")
    wait_until(lambda: source.call("HMGET", "outlived", "f1") == [None])
    ran = compared(source, target, "--ttl-tolerance", tolerance)
    outlived = tolerance == "1h"
    assert (ran.code, verdict_of(ran)) == (1, f"OK:{outlived:d} V:{3 - outlived} >:0 <:0 T:0"), ran.out


def test_without_the_right_to_ask_for_sizes_payloads_are_compared(server: ServerFactory) -> None:
    source, target = server("7.0", acl=["user default on nopass ~* &* +@all -memory"]), server("7.0")
    fill(source, 500)
    ran = run_keyferry(*at(source), "replicate", *at(target), env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:500 V:0 >:0 <:0 T:0"), ran.out + ran.err
    target.call("FLUSHALL")
    assert verdict_of(compared(source, target)) == "OK:0 V:0 >:500 <:0 T:0"


def test_where_sizes_are_not_told_windows_are_bounded_by_what_came(server: ServerFactory) -> None:
    """Bytes on their way are bounded by what windows brought before: what counts nothing would let them grow."""
    source, target = server("7.0", acl=["user default on nopass ~* &* +@all -memory"]), server("7.0")
    value = random.Random(1).randbytes(20_000)
    for one in (source, target):
        with one.connect() as connection:
            connection.pipeline([("HSET", f"hash:{number}", "field", value) for number in range(600)])
            connection.pipeline([("SET", f"string:{number}", value) for number in range(100)])
    with Monitor(source) as at_source:
        ran = compared(source, target, "--workers", "1")
    assert (ran.code, verdict_of(ran)) == (0, "OK:700 V:0 >:0 <:0 T:0"), ran.out
    reads = groupby(at_source.commands, lambda one: one.name in ("DUMP", "GET"))
    at_once = [len(list(commands)) for are_reads, commands in reads if are_reads]
    assert sum(at_once) >= 600
    assert max(at_once) <= 3 * WINDOW_BYTES // len(value), at_once


GROUP: dict[bytes, Any] = {
    b"name": b"group",
    b"last-delivered-id": b"2-0",
    b"pel-count": 1,
    b"pending": [[b"1-0", b"ann", 1000, 1]],
    b"consumers": [[b"name", b"ann", b"seen-time", 5, b"pel-count", 1, b"pending", [[b"1-0", 1000, 1]]]],
}
STREAM: dict[bytes, Any] = {b"length": 1, b"last-generated-id": b"2-0", b"entries": [[b"1-0", [b"field", b"value"]]]}


def stream(group: dict[bytes, Any], **fields: Any) -> list[Any]:
    """What XINFO STREAM FULL tells of a stream with one group."""
    told = STREAM | {name.replace("_", "-").encode(): value for name, value in fields.items()}
    return flat(told | {b"groups": [flat(GROUP | group)]})


def flat(told: dict[bytes, Any]) -> list[Any]:
    return [part for pair in told.items() for part in pair]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (stream({}), True),
        (stream({}, entries_added=7, radix_tree_nodes=2), True),  # what one side alone tells
        (stream({b"consumers": [[b"name", b"ann", b"seen-time", 9]]}), True),
        (stream({}, length=2), False),
        (stream({}, entries=[[b"1-0", [b"field", b"other"]]]), False),
        (stream({b"name": b"other"}), False),
        (stream({b"pending": [[b"1-0", b"ann", 1001, 1]]}), False),
        (stream({b"pending": [[b"1-0", b"bob", 1000, 1]]}), False),
        (stream({b"consumers": []}), False),
        (flat(STREAM | {b"groups": []}), False),
        (flat({name: told for name, told in STREAM.items() if name != b"entries"} | {b"groups": []}), False),
    ],
)
def test_streams_are_the_same_in_all_that_clients_can_see(other: list[Any], same: bool) -> None:
    ours = stream({})
    assert same_of(b"stream", [ours], [other]) == [same]


def payload(kind: int, size: int = 20) -> bytes:
    return bytes([kind]).ljust(size, b".")


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        (payload(14), payload(18), b"list"),  # as 6.2 and 7.0 have it
        (payload(2), payload(20), b"set"),
        (payload(12), payload(17), b"zset"),
        (payload(0), payload(0), b"string"),
        (payload(14), payload(2), CLOSELY),  # of two types
        (payload(4), payload(22), CLOSELY),  # fields expire
        (payload(7), payload(7), CLOSELY),  # of a module
        (payload(99), payload(99), CLOSELY),
        (None, payload(14), CLOSELY),
        (payload(14), payload(18, MOST_BYTES + 1), CLOSELY),
    ],
)
def test_elements_are_read_where_payloads_of_a_type_differ(ours: bytes | None, theirs: bytes, kind: bytes) -> None:
    assert kind_of_both(ours, theirs) == kind


GONE = [(kind, nothing) for kind in (b"list", b"set", b"hash", b"zset", b"stream") for nothing in (None, [])]


@pytest.mark.parametrize(("kind", "nothing"), [*GONE, (b"string", None), (PAYLOAD, None)])
def test_what_is_gone_is_never_the_same(kind: bytes, nothing: Any) -> None:
    assert same_of(kind, [nothing], [nothing]) == [False]


def test_tables_in_another_order_are_the_same_and_lists_are_not() -> None:
    one, other = [b"a", b"1", b"b", b"2"], [b"b", b"2", b"a", b"1"]
    assert same_of(b"set", [one, one], [other, [*other, b"b"]]) == [True, False]
    assert same_of(b"hash", [one, one], [other, [b"a", b"2", b"b", b"1"]]) == [True, False]
    assert same_of(b"list", [one], [other]) == [False]
    assert same_of(b"zset", [one, one], [[b"a", b"1.0", b"b", b"2e0"], other]) == [True, False]
