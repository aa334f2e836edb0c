"""Control connections: several users of one ask without waiting, and a server that hangs holds nobody up."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from keyferry.partitioners.control import HURRY_S, Control, hurried
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import AccessError
from tests.conftest import ServerFactory
from tests.support.live import wait_until
from tests.support.servers import Server


@pytest.fixture
def one(server: ServerFactory) -> Server:
    return server("7.0", fresh=True)


@pytest.fixture
def control(one: Server) -> Iterator[Control]:
    control = Control(Endpoint(port=one.port), "target")
    control.open()
    yield control
    control.close()


def test_who_asks_gets_the_reply_to_its_own_words(control: Control) -> None:
    for words in (("ECHO", "a"), ("ECHO", "b"), ("ECHO", "a")):
        control.ask(*words)
    got: dict[str, bytes] = {}

    def both() -> bool:
        for word in ("b", "a"):
            reply = control.answer("ECHO", word)
            got.update({word: reply} if reply is not None else {})
        return len(got) == 2

    wait_until(both)
    assert got == {"a": b"a", "b": b"b"}
    assert control.answer("ECHO", "a") is None, "it was on its way, so it was not sent again"


def test_a_call_takes_no_reply_that_somebody_else_has_asked_for(control: Control) -> None:
    control.ask("ECHO", "a")
    control.ask("ECHO", "b")
    assert control.call("ECHO", "c") == b"c"
    assert (control.answer("ECHO", "b"), control.answer("ECHO", "a")) == (b"b", b"a")


def test_in_a_hurry_a_server_that_hangs_is_given_up_soon_and_later_waited_for_again(
    one: Server, control: Control
) -> None:
    one.pause()
    try:
        began = time.monotonic()
        with hurried([control]), pytest.raises(AccessError):
            control.call("PING")
        assert time.monotonic() - began < 10 * HURRY_S
    finally:
        one.resume()
    assert control.call("PING") == b"PONG"
    assert control.endpoint.timeout_s == 60
