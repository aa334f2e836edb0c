"""What a live copy says at its end: a verdict only if it still stands, and each key that could not be copied once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import ServerFactory
from tests.support.live import wait_until_followed
from tests.support.processes import VERIFIED, start_keyferry
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.summary import result_of


class Verifying(Hooks):
    """Something happens at the first command that only verification sends to the target."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.acted = False

    def on_command(self, args: Args) -> Answer:
        if args[0] in (b"MGET", b"GET", b"DUMP") and b"key" in args and not self.acted:
            self.acted = True
            self.act()
        return args


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["table", "json"])
def test_a_verdict_of_before_the_last_writes_is_not_shown(words: tuple[str, ...], server: ServerFactory) -> None:
    """The verification is clean, but something was written meanwhile: it is followed on, and then ended."""
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "value")
    with Proxy(target, Verifying(lambda: source.call("SET", "meanwhile", "1"))) as proxy:
        line = ("-p", str(source.port), "replicate", "--live", "--idle-timeout", "500", "-p", str(proxy.port))
        with start_keyferry(*line, "--progress", "none", *words, env=VERIFIED) as run:
            wait_until_followed(target, "meanwhile")
            for number in range(20):
                source.call("SET", "meanwhile", number)
                time.sleep(0.1)
            run.signal_all(signal.SIGTERM)
            ran = run.wait()
    assert ran.code == 128 + signal.SIGTERM, ran.err
    if words:
        told = result_of(ran)
        assert (told["verified"], told["verify"]) == (False, None)
    else:
        assert "not verified" in ran.out and "OK:" not in ran.out, ran.out
        assert "what was found before does not stand any more" in ran.out
