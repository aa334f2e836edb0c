"""Replies of a kind that no server gives: the error names side, address and command, and nothing is left hanging."""

from __future__ import annotations

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.processes import run_keyferry
from tests.support.respproxy import Answer, Args, Hooks, Proxy

NIL, NUMBER, TEXT, NUMBERS = b"$-1\r\n", b":7\r\n", b"$3\r\nabc\r\n", b"*1\r\n:1\r\n"


class Odd(Hooks):
    """A command is answered by always the same."""

    def __init__(self, name: bytes, reply: bytes) -> None:
        self._name, self._reply = name, reply

    def on_command(self, args: Args) -> Answer:
        return self._reply if args[0].upper() == self._name else args


@pytest.mark.parametrize(
    ("name", "reply", "shown"),
    [
        (b"INFO", NIL, "None"),
        (b"INFO", NUMBER, "7"),
        (b"TIME", TEXT, "b'abc'"),
        (b"TIME", NUMBERS, "[1]"),
        (b"DBSIZE", TEXT, "b'abc'"),
    ],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_an_odd_reply_to_what_is_asked_first_is_shown(
    side: str, name: bytes, reply: bytes, shown: str, server: ServerFactory
) -> None:
    one, other = server("7.0"), server("7.0")
    one.call("SET", "key", "value")
    with Proxy(one if side == "source" else other, Odd(name, reply)) as proxy:
        places = (proxy, other) if side == "source" else (one, proxy)
        ran = run_keyferry(*at(places[0]), "replicate", *at(places[1]))
        assert ran.code == (3 if side == "source" else 4), ran.err
        assert f"error: {side} 127.0.0.1:{proxy.port}: unexpected reply to {name.decode()}: {shown}\n" in ran.err
    assert other.call("DBSIZE") == 0


@pytest.mark.parametrize(
    ("name", "reply", "asked"),
    [
        (b"SCAN", NIL, "SCAN"),
        (b"SCAN", NUMBERS, "SCAN"),
        (b"DUMP", NUMBER, "DUMP, or to what was asked with it,"),
        (b"PEXPIRETIME", NIL, "GET, or to what was asked with it,"),
    ],
)
def test_an_odd_reply_about_keys_names_who_gave_it_and_to_which_command(
    name: bytes, reply: bytes, asked: str, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "string", "value", "PX", "10000000")
    source.call("RPUSH", "list", "element")
    with Proxy(source, Odd(name, reply)) as proxy:
        ran = run_keyferry(*at(proxy), "replicate", *at(target))
        assert ran.code == 70, ran.err
        assert f"error: source 127.0.0.1:{proxy.port}: the reply to {asked} was not understood: " in ran.err
        assert "Traceback" not in ran.err
