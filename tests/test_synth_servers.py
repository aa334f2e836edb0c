"""The data set of `keyferry generate` on real servers: accepted without an error, and always the same."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from keyferry.workers import synth
from keyferry.workers.synth import Spec
from tests.support.binaries import KINDS
from tests.support.servers import Server

EPOCH_MS = 1_900_000_000_000  # in the future: nothing expires during a test
CLOCKED = (b"seen-time", b"active-time")  # of consumers: the server's clock


def blocks(spec: Spec) -> list[synth.Block]:
    return [synth.block(spec, number) for number in range(synth.block_count(spec))]


def write(client: redis.Redis, chosen: list[synth.Block]) -> None:
    """Send the blocks over one plain connection; no reply may be an error."""
    connection = client.connection_pool.get_connection()
    for block in chosen:
        connection.send_packed_command([block.requests])
        for _ in range(block.replies):
            connection.read_response()  # raises for an error
    assert not connection.can_read()
    client.connection_pool.release(connection)


def without_clock(info: Any) -> Any:
    """A reply of XINFO … FULL without the fields that show the server's clock."""
    if not isinstance(info, list):
        return info
    drop = {at + step for at, word in enumerate(info) if word in CLOCKED for step in (0, 1)}
    return [without_clock(word) for at, word in enumerate(info) if at not in drop]


def state(server: Server) -> tuple[Any, ...]:
    """Keys, digest, expiries, and the streams with their groups, to which the digest is blind."""
    keys = sorted(server.client.scan_iter(count=1000))
    streams = [key for key in keys if server.client.type(key) == b"stream"]
    infos = [without_clock(server.call("XINFO", "STREAM", key, "FULL", "COUNT", 0)) for key in streams]
    if server.kind == "6.2":  # has no PEXPIRETIME
        times = [server.call("PTTL", key) > 0 for key in keys]
    else:
        times = [server.call("PEXPIRETIME", key) for key in keys]
    return keys, server.call("DEBUG", "DIGEST"), times, infos


def put_other_types(client: redis.Redis, keys: list[bytes]) -> None:
    """Something else, larger, and with an expiry, under every name."""
    client.flushall()
    pipe = client.pipeline(transaction=False)
    for number, key in enumerate(keys):
        pipe.set(key, "x" * 5000) if number % 2 else pipe.rpush(key, *range(300))
        pipe.expire(key, 10_000)
    pipe.execute()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_server_ends_with_the_same_data_whatever_the_order_and_whatever_was_there(server, kind, binary):
    spec = Spec(1500, ttl_share=0.25, epoch_ms=EPOCH_MS, seed=3, elements_max=150, binary=binary)
    made = blocks(spec)
    assert len(made) > 2
    target = server(kind)
    write(target.client, made)
    straight = state(target)
    assert len(straight[0]) == target.client.dbsize() == 1500
    write(target.client, made)
    assert state(target) == straight
    target.client.flushall()
    write(target.client, made[::-1])
    assert state(target) == straight
    put_other_types(target.client, straight[0])
    write(target.client, made)
    assert state(target) == straight


def test_all_versions_of_the_server_hold_the_same_data(server):
    spec = Spec(1500, ttl_share=0.25, epoch_ms=EPOCH_MS)
    digests = set()
    for kind in KINDS:
        target = server(kind)
        write(target.client, blocks(spec))
        digests.add(target.call("DEBUG", "DIGEST"))
    assert len(digests) == 1


def test_the_server_holds_every_type_with_as_many_elements_as_asked_for(server):
    target = server("7.0")
    write(target.client, blocks(Spec(1500, elements_min=7, elements_max=9)))
    by_type: dict[bytes, list[bytes]] = {}
    for key in target.client.scan_iter(count=1000):
        by_type.setdefault(target.call("TYPE", key), []).append(key)
    lengths = {b"hash": "HLEN", b"list": "LLEN", b"set": "SCARD", b"zset": "ZCARD", b"stream": "XLEN"}
    assert set(by_type) == {b"string", *lengths}
    for name, command in lengths.items():
        assert {target.call(command, key) for key in by_type[name]} == {7, 8, 9}
    strings = [target.call("GET", key) for key in by_type[b"string"]]
    assert any(value.startswith(b"HYLL") for value in strings)
    assert any(value.lstrip(b"-").isdigit() for value in strings)


def test_streams_have_groups_with_and_without_pending_entries(server):
    target = server("7.0")
    write(target.client, blocks(Spec(200, shares=(("stream", 1),), elements_min=7, elements_max=9)))
    found = [target.client.xinfo_groups(key) for key in target.client.scan_iter(count=1000)]
    assert {len(groups) for groups in found} == {1, 2}
    assert {group["pending"] for groups in found for group in groups} == set(range(9))
    assert {group["consumers"] for groups in found for group in groups} == {1, 2, 3}


def test_elements_may_be_empty(server):
    target = server("7.0")
    spec = Spec(300, shares=tuple((name, 1) for name in synth.TYPES), size_min=0, size_max=0)
    write(target.client, blocks(spec))
    assert target.call("DBSIZE") == 300
