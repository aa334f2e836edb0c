"""The monitor sees all commands of others, whole and in order."""

from __future__ import annotations

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.monitor import Monitor, parse

BINARY = bytes(range(256)) + b'"quoted" \\back\\'


@pytest.mark.parametrize("kind", KINDS)
def test_commands_are_seen_with_all_their_bytes(server: ServerFactory, kind: str) -> None:
    one = server(kind)
    with one.connect(db=2) as connection, Monitor(one) as monitor:
        connection.pipeline([("SET", BINARY, b""), ("GET", b'] "PING"'), ("DEL", b"")])
        connection.must("EVAL", "return redis.call('GET', KEYS[1])", 1, "in a script")
        name = connection.name
    seen = [(command.args, command.db) for command in monitor.commands if command.client == name]
    assert seen[:3] == [((b"SET", BINARY, b""), 2), ((b"GET", b'] "PING"'), 2), ((b"DEL", b""), 2)]
    assert ("lua", (b"GET", b"in a script")) in [(command.client, command.args) for command in monitor.commands]
    assert monitor.names() == {"SET", "GET", "DEL", "EVAL"}
    assert all(command.time_s > 1.7e9 for command in monitor.commands)


def test_a_quiet_server_shows_nothing(server: ServerFactory) -> None:
    with Monitor(server("9.1")) as monitor:
        pass
    assert monitor.commands == []


def test_nothing_of_many_commands_is_missed(server: ServerFactory) -> None:
    one = server("7.0")
    with one.connect() as connection, Monitor(one) as monitor:
        connection.pipeline(("SET", n, n) for n in range(20_000))
    assert [int(command.args[1]) for command in monitor.commands] == list(range(20_000))


def test_what_is_no_line_of_monitor_is_refused() -> None:
    with pytest.raises(ValueError):
        parse(b"OK")
