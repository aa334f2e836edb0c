"""Which commands are known to change no key."""

from __future__ import annotations

import pytest

from keyferry.partitioners.commands import HARMLESS, harmless_at, is_harmless
from keyferry.partitioners.control import Control
from keyferry.workers.endpoint import Endpoint
from tests.conftest import ServerFactory

#: XGROUP itself is never counted: its subcommands are, and they write, but for HELP.
OF_WRITERS = {"xgroup", "xgroup|help", "host:"}
NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
def test_what_a_server_calls_harmless_is_known_without_asking_and_nothing_else(
    kind: str, server: ServerFactory
) -> None:
    one = server(kind)
    control = Control(Endpoint(port=one.port), "target")
    told = harmless_at(control)
    control.close()
    assert {"get", "eval", "info"} <= told and not {"set", "hset", "xadd"} & told
    assert {name for name in told if not is_harmless(name, NOTHING)} <= OF_WRITERS
    commands = {entry[0].decode().lower(): entry[2] for entry in one.call("COMMAND")}
    assert not [name for name in HARMLESS if b"write" in commands.get(name, ())]


def test_a_server_that_does_not_tell_has_no_harmless_commands_of_its_own(server: ServerFactory) -> None:
    one = server("7.0", acl=["user default on nopass ~* &* +@all -command"])
    control = Control(Endpoint(port=one.port), "target")
    assert harmless_at(control) == NOTHING
    control.close()
