"""A source that is busy with a long script while it is followed: it tells nothing, and that is no answer."""

from __future__ import annotations

import threading

import pytest

from tests.conftest import ServerFactory
from tests.support.busy import TAKES_S, busy_soon, is_busy
from tests.support.compare import assert_equal
from tests.support.live import UNTIL_A_SIGNAL, cut_over, feeds, followed, start_live, wait_until, wait_until_followed
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server

#: It writes at its beginning, and then does nothing useful.
LONG = f"""
    redis.call('SET', KEYS[1], 'by a script')
    local from = redis.call('TIME')
    repeat local now = redis.call('TIME') until now[1] - from[1] > {TAKES_S}
"""


def run_a_script(server: Server) -> None:
    with server.connect() as connection:
        connection.must("EVAL", LONG, "1", "late")


class AtTheLastLook(Hooks):
    """A script begins right before the first PING of the last look: the verification reads a key the second time."""

    def __init__(self, source: Server, denied: bytes) -> None:
        self.source, self.denied, self.reads = source, denied, 0
        self.begun = threading.Event()
        self.script = threading.Thread(target=run_a_script, args=(source,))

    def on_command(self, args: Args) -> Answer:
        self.reads += args[0] in (b"MGET", b"GET", b"DUMP") and b"key" in args
        if args == [b"PING"] and self.reads > 1 and not self.begun.is_set():
            self.begun.set()
            self.script.start()
            wait_until(lambda: is_busy(self.source))
        return b"-NOPERM this user has no permissions to run the 'info' command\r\n" if args[0] == self.denied else args


@pytest.mark.parametrize("denied", ["", "INFO"], ids=["told", "not told"])
def test_a_fence_is_not_passed_by_a_source_that_is_busy_with_a_script(denied: str, server: ServerFactory) -> None:
    """What the script has written comes when it has ended: until then nobody can say that nothing was written."""
    source, target = server("7.0"), server("7.0")
    busy_soon(source)
    source.call("SET", "key", "value")
    hooks = AtTheLastLook(source, denied.encode())
    with Proxy(source, hooks) as proxy, start_live(proxy, target) as run:
        done = followed(run)
    assert hooks.begun.is_set(), done.ran.err
    hooks.script.join()
    assert done.ran.code == 0, done.ran.err
    assert done.live["gaps"] == 0, done.ran.err
    assert_equal(source, target)


def test_a_feed_that_connects_to_a_source_that_is_busy_waits(server: ServerFactory) -> None:
    """A state that passes ends no run; what happened meanwhile is a gap."""
    source, target = server("7.0"), server("7.0")
    busy_soon(source)
    source.call("SET", "key", "value")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "key")
        (feed,) = feeds(source)
        with source.connect() as connection:
            connection.pipeline([("CLIENT", "KILL", "ID", feed), ("EVAL", LONG, "1", "late")])
        wait_until_followed(target, "late")
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["gaps"] == 1, done.ran.err
    assert_equal(source, target)
