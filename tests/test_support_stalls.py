"""Faults of the proxy that hold things up: stalls, slow connections, delays."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ServerFactory
from tests.support.before import PATIENCE_S, before, eventually, is_healthy
from tests.support.compare import all_keys
from tests.support.wire import Connection

#: What should not happen is waited for so long, seconds.
QUIET_S = 0.3


def is_silent(connection: Connection) -> bool:
    """Whether nothing comes for a while."""
    connection.set_timeout(QUIET_S)
    try:
        connection.receive()
    except TimeoutError:
        return True
    finally:
        connection.set_timeout(PATIENCE_S)
    return False


def test_a_stall_holds_everything_until_it_is_released(server: ServerFactory) -> None:
    one = server("7.0")
    with before(one, "stall at request SET") as proxy, proxy.connect() as connection:
        assert connection.call("PING") == b"PONG"
        connection.send([("SET", "k", "v"), ("GET", "k")])
        proxy.wait_until_fired(PATIENCE_S)
        assert is_silent(connection)
        assert all_keys(one) == set()
        assert is_healthy(proxy)
        proxy.release()
        assert [connection.receive() for _ in range(2)] == [b"OK", b"v"]


def test_a_stall_of_replies_lets_requests_pass(server: ServerFactory) -> None:
    one = server("7.0")
    with before(one, "stall replies at request SET") as proxy, proxy.connect() as connection:
        connection.send([("SET", "k", "v")])
        eventually(lambda: all_keys(one), {b"k"})
        assert is_silent(connection)
        proxy.release()
        assert connection.receive() == b"OK"


def test_a_stall_within_a_reply_leaves_a_part_of_it(server: ServerFactory) -> None:
    one = server("7.0")
    one.call("SET", "k", b"v" * 1_000)
    with before(one, "stall replies after 500 bytes") as proxy, proxy.connect() as connection:
        connection.send([("GET", "k")])
        proxy.wait_until_fired(PATIENCE_S)
        assert is_silent(connection)
        assert proxy.counters.bytes["replies"] == 500
        proxy.release()
        assert connection.receive() == b"v" * 1_000


@pytest.mark.parametrize("fenced", [False, True])
def test_what_a_client_sent_before_it_went_away_is_still_delivered(fenced: bool, server: ServerFactory) -> None:
    """The network holds it; only the server's end of the connection decides."""
    one = server("7.0")
    with before(one, "stall at request SET") as proxy:
        with proxy.connect() as connection:
            number = connection.call("CLIENT", "ID")
            connection.send([("SET", "k", "old")])
            proxy.wait_until_fired(PATIENCE_S)
        one.call("SET", "k", "new")
        if fenced:
            assert one.call("CLIENT", "KILL", "ID", number) == 1
        proxy.release()
        proxy.wait_until_closed(PATIENCE_S)
        eventually(lambda: one.call("GET", "k"), b"new" if fenced else b"old")


def test_a_stalled_client_cannot_send_for_ever(server: ServerFactory) -> None:
    with before(server("7.0"), "stall at request SET") as proxy, proxy.connect(timeout_s=1) as connection:
        with pytest.raises(TimeoutError):
            for _ in range(200):
                connection.send([("SET", "k", b"v" * 1_000_000)])


def test_a_slow_connection_passes_so_many_bytes_a_second(server: ServerFactory) -> None:
    one = server("7.0")
    one.call("SET", "k", b"v" * 40_000)
    with before(one, "slow 50000 replies at request GET") as proxy, proxy.connect() as connection:
        begun = time.monotonic()
        assert len(connection.call("GET", "k")) == 40_000
        assert time.monotonic() - begun > 0.7
        connection.send([("GET", "k")] * 100)
        proxy.release()
        assert {len(connection.receive()) for _ in range(100)} == {40_000}
        assert time.monotonic() - begun < 40  # so slowly, it would take twice as long
        assert is_healthy(proxy)


def test_a_delay_adds_to_the_round_trip_and_keeps_order_and_bandwidth(server: ServerFactory) -> None:
    with before(server("7.0"), "delay 200ms") as proxy, proxy.connect() as connection:
        begun = time.monotonic()
        assert connection.call("PING") == b"PONG"
        assert time.monotonic() - begun >= 0.2
        words = [b"%d" % number for number in range(20_000)]
        begun = time.monotonic()
        assert connection.pipeline(("ECHO", word) for word in words[:2_000]) == words[:2_000]
        connection.send(("ECHO", word) for word in words)
        assert [connection.receive() for _ in words] == words
        assert 0.4 <= time.monotonic() - begun < 60  # two round trips, not 22 000


def test_a_delay_of_one_direction_is_half_of_it(server: ServerFactory) -> None:
    with before(server("7.0"), "delay 300ms requests") as proxy, proxy.connect() as connection:
        taken = []
        while not taken or (min(taken) >= 0.3 and len(taken) < 20):  # a busy machine adds to some
            begun = time.monotonic()
            connection.call("PING")
            taken.append(time.monotonic() - begun)
        assert 0.15 <= min(taken) < 0.3
