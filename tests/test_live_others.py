"""Writes of others at the target while a live copy waits for a server that is to go on: none of ours are under way."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import all_keys
from tests.support.live import UNTIL_A_SIGNAL, cut_over, start_live, wait_for_feed, wait_until, wait_until_followed
from tests.support.processes import run_keyferry
from tests.support.servers import Server

KEYS = 200
#: A source that loads its data that slowly takes some seconds.
SLOW_LOADING = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")


@pytest.fixture
def source(server: ServerFactory) -> Server:
    """A source whose values are so large that it answers while it loads them."""
    found = server("7.0", "--rdbcompression", "no")
    with found.connect() as connection:
        connection.pipeline(("SET", f"key:{number}", b"v" * 2_000) for number in range(KEYS))
    return found


@pytest.mark.parametrize("words", [("SET", "theirs", "1"), ("HSET", "theirs", "field", "1")], ids=["SET", "HSET"])
def test_what_others_write_between_two_passes_outlives_the_second(
    words: tuple[str, ...], source: Server, server: ServerFactory
) -> None:
    target = server("7.0")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == KEYS)
        source.restart(*SLOW_LOADING, keep_data=True, wait=False)
        run.wait_for_text("is loading its data set")
        target.call(*words)
        wait_for_feed(source)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert b"theirs" in all_keys(target), done.ran.err
    assert "others write to the target" in done.ran.err
    assert (done.ran.code, done.live["left"]) == (1, 1)


def test_a_source_that_is_restarted_is_not_taken_for_others_at_the_target(
    source: Server, server: ServerFactory
) -> None:
    target = server("7.0")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == KEYS)
        source.restart(keep_data=True)
        wait_for_feed(source)
        source.call("DEL", "key:1")
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert "others write" not in done.ran.err
    assert target.call("EXISTS", "key:1") == 0


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_a_look_at_what_we_may_do_at_the_target_is_no_write_of_others(kind: str, server: ServerFactory) -> None:
    """As somebody does who plans another copy to that server, to another database, say."""
    source, target = server("7.0"), server(kind)
    source.call("MSET", "a", "1", "b", "1")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "b")
        assert run_keyferry("ping", "-p", str(target.port), "--for", "replicate").code == 0
        time.sleep(2.5)  # until it has looked at the target again
        source.call("DEL", "a")
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert all_keys(target) == {b"b"}
