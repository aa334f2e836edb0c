"""The proxy passes everything on unchanged, keeps the order of replies, and its hooks change what they are meant to."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ServerFactory
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill
from tests.support.disguises import (
    ClockSkew,
    OffsetCursors,
    ShardedCursors,
    TableCursors,
    WithoutCommands,
    WithoutInfo,
)
from tests.support.frames import Frames, decoded, encoded
from tests.support.respproxy import Answer, Args, Chain, Hooks, Proxy
from tests.support.wire import Connection, ServerError, pack

VALUES = st.recursive(
    st.binary() | st.integers(-(2**63), 2**63 - 1) | st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=12
)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=5), st.integers(1, 9))
def test_frames_are_found_however_the_bytes_arrive(values: list[Any], step: int) -> None:
    stream = b"".join(map(encoded, values))
    frames = Frames()
    found = [frame for at in range(0, len(stream), step) for frame in frames.feed(stream[at : at + step])]
    assert [decoded(frame) for frame in found] == values
    assert b"".join(found) == stream


def test_replies_pass_byte_for_byte(server: ServerFactory) -> None:
    one = server("8.2")
    with Proxy(one) as proxy:
        commands = [("PING",), ("HELLO", 3), ("GET", "k"), ("COMMAND", "INFO", "get"), ("NOPE",)]
        requests = b"PING\r\n" + pack(commands)
        said = []
        for port in (one.port, proxy.port):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(requests + b"*1\r\n$4\r\nQUIT\r\n")
                client.settimeout(10)
                said.append(b"".join(iter(lambda client=client: client.recv(65536), b"")))
        without_ids = [line for line in said[0].split(b"\r\n") if not line.startswith(b":")]
        assert [line for line in said[1].split(b"\r\n") if not line.startswith(b":")] == without_ids


def test_a_whole_data_set_passes_through_in_long_pipelines(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill(source, 6_000)
    begun = time.monotonic()
    with Proxy(source) as front, Proxy(target) as back, front.connect() as left, back.connect() as right:
        keys = sorted(all_keys(source))
        payloads = left.pipeline(("DUMP", key) for key in keys)
        times = left.pipeline(("PEXPIRETIME", key) for key in keys)
        items = zip(keys, times, payloads, strict=True)
        done = right.pipeline(("RESTORE", key, max(0, at), payload, "ABSTTL") for key, at, payload in items)
        assert set(done) == {b"OK"}
    assert_equal(source, target)
    assert time.monotonic() - begun < 60


def test_a_big_value_passes(server: ServerFactory) -> None:
    with Proxy(server("9.1")) as proxy, proxy.connect() as connection:
        value = b"\r\n$5\r\n" * 4_000_000
        assert connection.call("SET", "k", value) == b"OK"
        assert connection.call("GET", "k") == value


def test_a_client_that_sends_everything_before_it_reads_is_served(server: ServerFactory) -> None:
    with Proxy(server("7.0")) as proxy, proxy.connect() as connection:
        connection.must("SET", "k", b"v" * 10_000)
        connection.send([("GET", "k")] * 3_000)
        assert {len(connection.receive()) for _ in range(3_000)} == {10_000}


def test_hooks_see_commands_and_replies_and_keep_the_order(server: ServerFactory) -> None:
    class Shout(Hooks):
        replies_of = frozenset({b"GET"})

        def on_command(self, args: Args) -> Answer:
            if args[0] == b"MINE":
                return encoded(b"from the hook")
            return [b"GET", b"other"] if args == [b"GET", b"moved"] else args

        def on_reply(self, args: Args, reply: Any) -> Any:
            return None if reply is None else reply.upper() + b" as " + args[1]

    one = server("9.1")
    one.call("MSET", "k", "v", "other", "w")
    with Proxy(one, Shout()) as proxy, proxy.connect() as connection:
        asked = [("GET", "k"), ("MINE",), ("ECHO", "e"), ("GET", "moved"), ("MINE",), ("GET", "absent")]
        mine = b"from the hook"
        assert connection.pipeline(asked) == [b"V as k", mine, b"e", b"W as moved", mine, None]
        assert connection.pipeline([("MULTI",), ("GET", "k"), ("ECHO", "x"), ("EXEC",)])[-1] == [b"V as k", b"x"]


def test_a_push_arrives_out_of_turn(server: ServerFactory) -> None:
    one = server("7.0")
    with Proxy(one) as proxy, proxy.connect(protocol=3) as connection:
        connection.must("CLIENT", "TRACKING", "ON", "BCAST")
        one.call("SET", "k", "v")
        assert connection.receive() == [b"invalidate", [b"k"]]


def test_a_cut_and_a_dead_server_close_the_connection(server: ServerFactory) -> None:
    one = server("7.0", fresh=True)
    with Proxy(one) as proxy:
        with proxy.connect() as connection:
            assert connection.call("PING") == b"PONG"
            proxy.cut()
            with pytest.raises(OSError):
                connection.call("PING")
        with proxy.connect() as connection:
            assert connection.call("PING") == b"PONG"
            one.kill()
            with pytest.raises(OSError):
                connection.receive()
        with pytest.raises(OSError), proxy.connect() as connection:
            connection.call("PING")
        assert proxy.clients == 3


def scan(connection: Connection, start: int = 0) -> tuple[list[bytes], list[int]]:
    """All keys from the cursor `start` on, and the cursors on the way."""
    keys, cursors = [], [start]
    while True:
        cursor, names = connection.must("SCAN", cursors[-1], "COUNT", 100)
        keys += names
        if int(cursor) == 0:
            return keys, cursors
        cursors.append(int(cursor))


@pytest.mark.parametrize("number", [2, 3])
def test_sharded_cursors_scan_several_servers_as_one(server: ServerFactory, number: int) -> None:
    servers = [server("7.0") for _ in range(number)]
    with Proxy(servers, ShardedCursors(number)) as proxy, proxy.connect() as connection:
        names = [b"key:%d" % n for n in range(3_000)]
        connection.pipeline(("SET", name, "v") for name in names)
        assert all(one.call("DBSIZE") > 500 for one in servers)
        keys, cursors = scan(connection)
        assert sorted(set(keys)) == sorted(names)
        assert {cursor % 4 if number > 2 else cursor % 2 for cursor in cursors} == set(range(number))
        assert connection.call("DBSIZE") == 3_000
        assert connection.pipeline(("GET", name) for name in names) == [b"v"] * 3_000
        assert connection.call("DEBUG", "DIGEST-VALUE", names[0])[0] != b"0" * 40
        assert connection.call("FLUSHALL") == b"OK"
        assert [one.call("DBSIZE") for one in servers] == [0] * number


def test_offset_cursors_count_keys(server: ServerFactory) -> None:
    one = server("9.1")
    fill(one, 1_000)
    with Proxy(one, OffsetCursors(one)) as proxy, proxy.connect() as connection:
        keys, cursors = scan(connection)
        assert keys == sorted(all_keys(one))
        assert cursors == list(range(0, 1_000, 100))
        assert scan(connection, 950)[0] == keys[950:]
        assert isinstance(connection.call("SCAN", 0, "TYPE", "string"), ServerError)


def test_table_cursors_are_small_numbers_and_unknown_ones_begin_again(server: ServerFactory) -> None:
    one = server("8.2")
    fill(one, 1_000)
    with Proxy(one, TableCursors()) as proxy, proxy.connect() as connection:
        keys, cursors = scan(connection)
        assert set(keys) == all_keys(one)
        assert cursors == list(range(len(cursors))) and len(cursors) > 5
        assert connection.call("SCAN", 10**6)[1] == one.call("SCAN", 0)[1]


def test_the_clock_is_skewed_also_in_a_transaction(server: ServerFactory) -> None:
    with Proxy(server("6.2"), ClockSkew(-90.5)) as proxy, proxy.connect() as connection:
        plain = connection.must("TIME")
        inside = connection.pipeline([("MULTI",), ("PTTL", "k"), ("TIME",), ("EXEC",)])[-1]
        for reply in (plain, inside[1]):
            assert 89 < time.time() - int(reply[0]) - int(reply[1]) / 1e6 < 92
        assert inside[0] == -2


def test_commands_are_hidden_and_info_is_shortened(server: ServerFactory) -> None:
    one = server("7.0")
    hooks = Chain(WithoutCommands("dump", "CONFIG"), WithoutInfo("memory", "Server"))
    with Proxy(one, hooks) as proxy, proxy.connect() as connection:
        assert str(connection.call("DUMP", "k")).startswith("ERR unknown command 'DUMP'")
        assert isinstance(connection.call("config", "get", "*"), ServerError)
        assert connection.call("COMMAND", "INFO", "dump", "get")[0] is None
        assert connection.call("COMMAND", "INFO", "dump", "get")[1][0] == b"get"
        info = connection.must("INFO").decode()
        assert "used_memory" not in info and "run_id" not in info and "connected_clients" in info
        assert connection.must("INFO", "server") == b""
