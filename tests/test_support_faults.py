"""Every fault of the proxy really happens, to a real server, at its moment and nowhere else."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from typing import Any

import hiredis
import pytest

from tests.conftest import ServerFactory
from tests.support.before import PATIENCE_S, before, eventually, is_healthy
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill
from tests.support.processes import start_command
from tests.support.proxy import FaultProxy
from tests.support.servers import Server, free_port
from tests.support.wire import Connection, ServerError, pack

# -- helpers ----------------------------------------------------------------------------------------------------------


def all_bytes(client: socket.socket) -> bytes:
    """What comes until the other end closes; raises OSError where it does so by RST."""
    client.settimeout(PATIENCE_S)
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


# -- without faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watch", [True, False])
def test_a_data_set_passes_in_both_directions_and_is_counted(watch: bool, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill(source, 5_000)
    with FaultProxy(source.port, watch=watch) as front, FaultProxy(target.port, watch=watch) as back:
        with front.connect() as left, back.connect() as right:
            keys = sorted(all_keys(source))
            payloads = left.pipeline(("DUMP", key) for key in keys)
            times = left.pipeline(("PEXPIRETIME", key) for key in keys)
            items = zip(keys, times, payloads, strict=True)
            done = right.pipeline(("RESTORE", key, max(0, at), payload, "ABSTTL") for key, at, payload in items)
            assert set(done) == {b"OK"}
        assert_equal(source, target)
        size = sum(map(len, payloads))
        assert front.counters.bytes["replies"] > size < back.counters.bytes["requests"]
        assert back.counters.bytes["replies"] == len(b"+OK\r\n") * len(keys)
        assert (front.counters.connections, front.counters.fired) == (1, 0)
        front.wait_until_closed(PATIENCE_S)
        back.wait_until_closed(PATIENCE_S)


def test_big_values_and_endless_pipelines_pass(server: ServerFactory) -> None:
    value = b"\r\n$5\r\n" * 4_000_000
    with before(server("9.1")) as proxy, proxy.connect() as connection:
        assert connection.call("SET", "k", value) == b"OK"
        assert connection.call("GET", "k") == value
        connection.must("SET", "k", b"v" * 10_000)
        connection.send([("GET", "k")] * 5_000)  # 50 MB of replies before the first is read
        assert {len(connection.receive()) for _ in range(5_000)} == {10_000}


def test_many_connections_pass(server: ServerFactory) -> None:
    with before(server("7.0"), "delay 200ms") as proxy:
        clients = [proxy.connect() for _ in range(200)]
        begun = time.monotonic()
        for client in clients:
            client.send([("PING",)])
        assert {client.receive() for client in clients} == {b"PONG"}
        assert time.monotonic() - begun < 200 * 0.2 / 2  # their delays run side by side
        for client in clients:
            client.close()
        proxy.wait_until_closed(PATIENCE_S)


def test_a_server_that_is_gone_closes_the_connection(server: ServerFactory) -> None:
    one = server("7.0", fresh=True)
    with before(one) as proxy, proxy.connect() as connection:
        one.kill()
        with pytest.raises(OSError):
            connection.call("PING")
        with pytest.raises(OSError), proxy.connect() as another:
            another.call("PING")
        one.start()
        assert is_healthy(proxy)


# -- faults that end a connection -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "reset"])
@pytest.mark.parametrize("moment", ["at connect", "after 0 bytes", "at request PING", "at reply PING"])
def test_a_connection_ends_and_the_next_one_is_healthy(fault: str, moment: str, server: ServerFactory) -> None:
    with before(server("7.0"), f"{fault} {moment}") as proxy:
        with pytest.raises(ConnectionError), proxy.connect() as connection:
            connection.call("PING")
        proxy.wait_until_fired(PATIENCE_S)
        assert is_healthy(proxy) and is_healthy(proxy)
        assert (proxy.counters.fired, proxy.counters.connections) == (1, 3)


def test_always_means_every_connection(server: ServerFactory) -> None:
    with before(server("7.0"), "cut at request PING 2 always") as proxy:
        for _ in range(3):
            with proxy.connect() as connection:
                assert connection.call("PING") == b"PONG"
                with pytest.raises(ConnectionError):
                    connection.call("PING")
        assert proxy.counters.fired == 3


def test_a_rule_may_be_for_one_connection_or_for_all_from_one_on(server: ServerFactory) -> None:
    with before(server("7.0"), "cut connection 2; reset connection 4+ always") as proxy:
        health = []
        for _ in range(6):
            try:
                health.append(is_healthy(proxy))
            except ConnectionError:
                health.append(False)
        assert health == [True, False, True, False, False, False]


@pytest.mark.parametrize("size", [1, 4_321, 300_000])
def test_a_cut_comes_after_exactly_so_many_bytes(size: int, server: ServerFactory) -> None:
    one = server("7.0")
    one.call("SET", "k", b"v" * 500_000)
    with before(one, f"cut replies after {size} bytes") as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(pack([("GET", "k")]))
            assert len(all_bytes(client)) == size
        assert proxy.counters.bytes["replies"] == size


def test_bytes_of_requests_are_counted_too(server: ServerFactory) -> None:
    one = server("7.0")
    first = pack([("SET", "a", "1")])
    with before(one, f"cut requests after {len(first) + 5} bytes") as proxy, proxy.connect() as connection:
        connection.send([("SET", "a", "1"), ("SET", "b", "2")])
        with pytest.raises(ConnectionError):
            [connection.receive() for _ in range(2)]
    assert all_keys(one) == {b"a"}


def test_a_cut_at_a_request_lets_what_is_before_it_pass_and_keeps_it_from_the_server(server: ServerFactory) -> None:
    one = server("7.0")
    with before(one, "cut at request set/MSET 3") as proxy, proxy.connect() as connection:
        connection.send([("SET", "a", "1"), ("GET", "a"), ("MSET", "b", "2"), ("SET", "c", "3")])
        with pytest.raises(ConnectionError):
            [connection.receive() for _ in range(4)]
    eventually(lambda: all_keys(one), {b"a", b"b"})


def test_a_cut_at_a_reply_comes_when_the_server_has_done_it(server: ServerFactory) -> None:
    one = server("7.0")
    with before(one, "cut at reply SET 2") as proxy, proxy.connect() as connection:
        connection.send([("SET", "a", "1"), ("SET", "b", "2")])
        assert connection.receive() == b"OK"
        with pytest.raises(ConnectionError):
            connection.receive()
    assert all_keys(one) == {b"a", b"b"}


def test_a_reset_is_no_orderly_end(server: ServerFactory) -> None:
    with before(server("7.0"), "reset at request PING") as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(pack([("PING",)]))
            with pytest.raises(ConnectionResetError):
                all_bytes(client)


def test_half_closed_requests_end_for_the_server_only(server: ServerFactory) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with listener, FaultProxy(port, "half-close requests after 5 bytes", watch=False) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client, listener.accept()[0] as taken:
            client.sendall(b"12345678")
            assert all_bytes(taken) == b"12345"
            client.sendall(b"lost")
            taken.sendall(b"a reply all the same")
            taken.close()
            assert all_bytes(client) == b"a reply all the same"


def test_half_closed_replies_end_for_the_client_only(server: ServerFactory) -> None:
    one = server("7.0")
    with before(one, "half-close replies at reply ECHO") as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(pack([("PING",), ("ECHO", "x")]))
            assert all_bytes(client) == b"+PONG\r\n"
            client.sendall(pack([("SET", "k", "v")]))
            eventually(lambda: all_keys(one), {b"k"})


# -- lies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["connect", "request ECHO 2", "reply ECHO 2"])
def test_garbage_stands_between_two_replies(moment: str, server: ServerFactory) -> None:
    good = 0 if moment == "connect" else 1
    with before(server("7.0"), f"garbage at {moment}") as proxy, proxy.connect() as connection:
        for _ in range(good):
            assert connection.call("ECHO", "x") == b"x"
        with pytest.raises(hiredis.ProtocolError):
            connection.call("ECHO", "x")
        assert is_healthy(proxy)


def test_garbage_may_fall_into_a_reply(server: ServerFactory) -> None:
    with before(server("7.0"), "garbage replies after 5 bytes") as proxy, proxy.connect() as connection:
        with pytest.raises(hiredis.ProtocolError):
            [connection.call("ECHO", "four") for _ in range(2)]


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_addresses_of_a_cluster_are_translated(kind: str, server: ServerFactory) -> None:
    first, second = (server(kind, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(2))
    for one, slots in ((first, (0, 8191)), (second, (8192, 16383))):
        assert one.call("CLUSTER", "ADDSLOTSRANGE", *slots) == b"OK"
    assert first.call("CLUSTER", "MEET", "127.0.0.1", second.port, bus_port(second)) == b"OK"
    eventually(lambda: first.call("SET", "foo", "x").__class__, ServerError)  # its slot is 12182, of the second
    eventually(lambda: len(first.call("CLUSTER", "SLOTS")), 2)
    eventually(lambda: str(first.call("SET", "foo", "x")), f"MOVED 12182 127.0.0.1:{second.port}")
    pairs = f"127.0.0.1:{first.port}=node-1.example:7001,127.0.0.1:{second.port}=10.1.1.1:7002"
    with before(first, f"translate {pairs}") as proxy, proxy.connect() as connection:
        assert str(connection.call("SET", "foo", "x")) == "MOVED 12182 10.1.1.1:7002"
        slots = connection.must("CLUSTER", "SLOTS")
        assert [(start, node[:2]) for start, _, node in sorted(slots)] == [
            (0, [b"node-1.example", 7001]),
            (8192, [b"10.1.1.1", 7002]),
        ]
        assert {told(shard) for shard in connection.must("CLUSTER", "SHARDS")} == {
            (b"node-1.example", b"node-1.example", 7001),
            (b"10.1.1.1", b"10.1.1.1", 7002),
        }
        nodes = connection.must("CLUSTER", "NODES")
        assert b" node-1.example:7001@" in nodes and b" 10.1.1.1:7002@" in nodes
        value = f"127.0.0.1:{second.port}".encode()
        connection.must("SET", "{b}", value)
        assert connection.must("GET", "{b}") == value  # what users store is left as it is


def bus_port(server: Server) -> bytes:
    return server.call("CONFIG", "GET", "cluster-port")[1]


def told(shard: list[Any]) -> tuple[Any, ...]:
    (node,) = shard[shard.index(b"nodes") + 1]
    fields = dict(zip(node[::2], node[1::2], strict=True))
    return fields[b"ip"], fields[b"endpoint"], fields[b"port"]


# -- from a test, and by hand -----------------------------------------------------------------------------------------


def test_a_map_can_be_set_while_connections_are_open(server: ServerFactory) -> None:
    with before(server("7.0")) as proxy, proxy.connect() as connection:
        assert connection.call("ECHO", "1") == b"1"
        proxy.set("cut at request ECHO 2")
        assert connection.call("ECHO", "2") == b"2"
        with pytest.raises(ConnectionError):
            connection.call("ECHO", "3")
        proxy.set("cut at connect always")
        with pytest.raises(ConnectionError):
            is_healthy(proxy)
        proxy.set("")
        assert is_healthy(proxy)
        assert proxy.counters.fired == 2


def test_all_connections_can_be_killed(server: ServerFactory) -> None:
    with before(server("7.0")) as proxy, proxy.connect() as one, proxy.connect() as other:
        one.call("PING"), other.call("PING")
        proxy.kill_all()
        for connection in (one, other):
            with pytest.raises(OSError):
                connection.call("PING")
        assert proxy.open == 0
        assert is_healthy(proxy)


def test_waiting_for_a_fault_ends_with_it_or_fails(server: ServerFactory) -> None:
    with before(server("7.0"), "cut at request PING") as proxy:
        with pytest.raises(AssertionError, match="0 of 1 faults"):
            proxy.wait_until_fired(0.05)
        with proxy.connect() as connection:
            later = threading.Timer(0.1, lambda: connection.send([("PING",)]))
            later.start()
            proxy.wait_until_fired(PATIENCE_S)
            later.join()


def test_the_proxy_runs_by_hand(server: ServerFactory) -> None:
    one, port = server("7.0"), free_port()
    words = [str(port), str(one.port), "cut", "at", "request", "ECHO"]
    with start_command(sys.executable, "-m", "tests.support.proxy", *words) as run:
        run.wait_for_text(f"127.0.0.1:{port} → 127.0.0.1:{one.port}: cut at request ECHO")
        with Connection(("127.0.0.1", port)) as connection:
            assert connection.call("PING") == b"PONG"
            with pytest.raises(ConnectionError):
                connection.call("ECHO", "x")
        run.signal(signal.SIGINT)
        assert run.wait().code == 0


def test_a_wrong_map_by_hand_is_refused() -> None:
    with start_command(sys.executable, "-m", "tests.support.proxy", "1", "2", "smash") as run:
        ran = run.wait()
    assert ran.code == 2
    assert "LISTEN_PORT TARGET_PORT MAP" in ran.err and "no fault 'smash'" in ran.err
