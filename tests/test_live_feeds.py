"""What a live copy needs of its source's feed, what it sends there, and a feed that tells nothing."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import KINDS, bloom
from tests.support.commands import at
from tests.support.compare import all_keys
from tests.support.filling import write_strings
from tests.support.hooks import Verifying
from tests.support.live import (
    UNTIL_A_SIGNAL,
    assert_converged,
    cut_over,
    followed,
    generated,
    lose_feeds,
    notify,
    start_live,
    wait_for_feed,
    wait_until,
    wait_until_followed,
)
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server

NOTIFIED = ("--feed", "notifications")
#: What may be sent to a source (README): nothing of it writes.
READS = {
    *("AUTH", "PING", "SELECT", "CLIENT", "INFO", "DBSIZE", "TIME", "SCAN", "HELLO", "PSUBSCRIBE"),
    *("DUMP", "PEXPIRETIME", "PTTL", "MGET", "GET", "EXISTS", "MEMORY", "TYPE", "STRLEN"),
    *("LLEN", "SCARD", "HLEN", "ZCARD", "XLEN", "GETRANGE", "LRANGE", "SMEMBERS", "SSCAN", "SMISMEMBER", "HGETALL"),
    *("HSCAN", "HMGET", "HPEXPIRETIME", "ZRANGE", "XRANGE", "XINFO", "XPENDING"),
}


@pytest.mark.covers("feed")
def test_notifications_that_are_off_are_an_error_with_the_command_to_type(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("CONFIG", "SET", "notify-keyspace-events", "Ex")
    for words in (NOTIFIED, ("--dbs", "0,1")):
        ran = run_keyferry("-p", str(source.port), "replicate", *at(target), "--live", "--idle-timeout", "500", *words)
        assert ran.code == 6
        assert "notify-keyspace-events is 'xE'" in ran.err
        assert "hint: type CONFIG SET notify-keyspace-events AKE there, or use --enable-notifications" in ran.err


@pytest.mark.covers("enable-notifications")
@pytest.mark.parametrize("kind", KINDS)
def test_notifications_are_switched_on_for_the_run_alone(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    source.call("CONFIG", "SET", "notify-keyspace-events", "Ex")
    write_strings(source, 500)
    with start_live(source, target, "--enable-notifications", *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        assert set(source.call("CONFIG", "GET", "notify-keyspace-events")[1].decode()) == set("AKE")
        wait_until(lambda: target.call("DBSIZE") == 500)
        source.call("DEL", *sorted(all_keys(source))[:100])
        done = cut_over(run)
    assert_converged(source, target, done)
    assert set(source.call("CONFIG", "GET", "notify-keyspace-events")[1].decode()) == set("xE")


def test_what_others_publish_under_a_name_like_those_of_notifications_is_none(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    notify(source)
    source.call("SET", "key", "value")
    with start_live(source, target, "--dbs", "all", *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        wait_until_followed(target, "key")
        for number in ("x", "", "-1", "1_0", "0__:__keyspace@", "7", "99", "9" * 5000):
            source.call("PUBLISH", f"__keyspace@{number}__:key", "set")
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert_converged(source, target, done)
    assert "has appeared" not in done.ran.err, done.ran.err


class Dumb(Hooks):
    """A proxy that says OK to tracking and never tells of a change."""

    def on_command(self, args: Args) -> Answer:
        return b"+OK\r\n" if [word.upper() for word in args[:2]] == [b"CLIENT", b"TRACKING"] else args


def test_a_feed_that_never_tells_anything_is_found_out(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 1000)
    with Proxy(source, Dumb()) as proxy, start_live(proxy, target, "--idle-timeout", "1h") as run:
        wait_until(lambda: target.call("DBSIZE") == 1000)
        with source.connect() as connection:
            connection.pipeline([("SET", f"new:{number}", "1") for number in range(1500)])
        done = followed(run)
    assert done.ran.code == 8
    assert "its feed brings no events, though it is written to" in done.ran.err


class HangsUp(Hooks):
    """While `armed`, the source lets the feed listen, and closes its connection at what it is asked then."""

    def __init__(self, source: Server, armed: bool = True) -> None:
        self.source, self.armed = source, armed

    def on_command(self, args: Args) -> Answer:
        if self.armed and args[:2] == [b"INFO", b"commandstats"]:
            lose_feeds(self.source)
        return args


def test_a_source_that_hangs_up_on_every_feed_is_not_tried_for_ever(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "value")
    with Proxy(source, HangsUp(source)) as proxy, start_live(proxy, target, "--retry-for", "1s") as run:
        done = followed(run, 60)
    assert done.ran.code == 3, done.ran.err
    assert "connection lost: closed by the server, for " in done.ran.err


def test_a_feed_whose_connection_does_not_come_back_is_told_of_and_so_is_its_return(server: ServerFactory) -> None:
    """Meanwhile nobody knows of any change, and nothing else would say why the run does not go on."""
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "value")
    hooks = HangsUp(source, armed=False)
    with Proxy(source, hooks) as proxy, start_live(proxy, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "key")
        hooks.armed = True
        run.wait_for_text(f"source {proxy.address}: connection lost: closed by the server; trying again for up to")
        hooks.armed = False
        run.wait_for_text(f"source {proxy.address}: connected again after")
        done = cut_over(run)
    assert_converged(source, target, done, gaps=1)


def test_a_stream_that_changes_silently_after_the_counters_were_reset_is_copied_again(server: ServerFactory) -> None:
    """They come to what they had come to before."""
    source, target = server("7.0"), server("7.0")
    source.call("XADD", "stream", "1-1", "field", "value")
    source.call("XADD", "stream", "2-1", "field", "value")
    source.call("XGROUP", "CREATE", "stream", "group", "0")
    source.call("XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "stream", ">")
    source.call("CONFIG", "RESETSTAT")
    source.call("XACK", "stream", "group", "1-1")
    with start_live(source, target, "--no-verify", *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "stream")
        source.call("CONFIG", "RESETSTAT")
        run.wait_for_text("counters were reset")
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        time.sleep(1)  # until the stream is copied again, too
        source.call("XACK", "stream", "group", "2-1")
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert target.call("XPENDING", "stream", "group")[0] == 0


def test_vector_sets_are_copied_again_as_notifications_do_not_tell_of_them(server: ServerFactory) -> None:
    """One changes while it is followed, and another one comes after all keys were read to be verified."""
    source, target = server("8.2"), server("8.2")
    notify(source)
    source.call("SET", "key", "value")
    source.call("VADD", "first", "VALUES", "1", "1", "element")
    late = Verifying(lambda: source.call("VADD", "late", "VALUES", "1", "1", "element"))
    with Proxy(target, late) as proxy, start_live(source, proxy, *NOTIFIED, "--idle-timeout", "2s") as run:
        wait_until_followed(target, "first")
        wait_for_feed(source)
        source.call("VADD", "first", "VALUES", "1", "1", "other")
        done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert [target.call("VCARD", name) for name in ("first", "late")] == [2, 1]


def test_a_vector_set_that_lost_its_last_element_goes_at_the_target(server: ServerFactory) -> None:
    """No notification tells of that either: one goes while it is followed, one after all keys were read."""
    source, target = server("8.2"), server("8.2")
    notify(source)
    source.call("SET", "key", "value")
    for name in ("kept", "first", "late"):
        source.call("VADD", name, "VALUES", "1", "1", "element")
    late = Verifying(lambda: source.call("VREM", "late", "element"))
    with Proxy(target, late) as proxy, start_live(source, proxy, *NOTIFIED, "--idle-timeout", "2s") as run:
        wait_until_followed(target, "first")
        wait_for_feed(source)
        source.call("VREM", "first", "element")
        done = followed(run)
    assert done.ran.code == 0 and done.live["converged"], done.ran.err
    assert sorted(target.call("KEYS", "*")) == [b"kept", b"key"]


def test_what_modules_write_after_the_proof_is_not_called_equal(server: ServerFactory) -> None:
    """No notification tells of it, and nobody knows all commands of modules."""
    source, target = (server("7.0", modules=[bloom()]) for _ in range(2))
    notify(source)
    source.call("SET", "key", "value")
    late = Verifying(lambda: source.call("BF.ADD", "late", "element"))
    with Proxy(target, late) as proxy, start_live(source, proxy, *NOTIFIED) as run:
        done = followed(run)
    assert done.ran.code == 1 and not done.live["converged"], done.ran.err
    assert done.told["verify"]["only_at_source"] == 1


def test_nothing_is_written_to_the_source(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    notify(source)
    generated(source, 1000)
    with Monitor(source) as seen:
        for words in ((), NOTIFIED):
            target.call("FLUSHALL")
            with start_live(source, target, *words) as run:
                assert followed(run).ran.code == 0
    assert {one.name for one in seen.commands} <= READS
    assert {one.args[1].upper() for one in seen.commands if one.name == "CLIENT"} <= {
        *(b"SETNAME", b"NO-EVICT", b"NO-TOUCH", b"ID", b"INFO", b"LIST", b"TRACKING"),
    }
    alone, besides = [one.args[3:] for one in seen.commands if one.args[:3] == (b"CLIENT", b"TRACKING", b"ON")]
    assert alone == (b"BCAST",)
    assert besides[:2] == (b"BCAST", b"PREFIX") and len(besides[2]) == 16, "it brings flushes alone"


def test_a_fence_is_two_pings_with_a_pause_and_the_last_look_comes_after_it(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    with Monitor(source) as seen:
        with start_live(source, target) as run:
            assert followed(run).ran.code == 0
    listens = next(one for one in seen.commands if one.args[:3] == (b"CLIENT", b"TRACKING", b"ON"))
    feed = [one for one in seen.commands if one.client == listens.client and one.time_s >= listens.time_s]
    pings = [one.time_s for one in feed if one.name == "PING"][1:]  # the first one confirms the subscription
    assert len(pings) >= 4 and len(pings) % 2 == 0
    assert all(second - first >= 0.1 for first, second in zip(pings[::2], pings[1::2]))
    looks = [one.time_s for one in feed if one.name == "INFO" and one.args[1] == b"commandstats"]
    assert looks[0] < next(one.time_s for one in seen.commands if one.name == "SCAN" and b"500" in one.args)
    assert looks[-1] > pings[-1]
    compared = max(one.time_s for one in seen.commands if one.name in ("MGET", "DUMP"))
    assert pings[-1] > compared, "the last fence is the last act"


class AnswersNoLook(Hooks):
    """A source that answers no PING any more once it is verified, which reads its keys for the second time."""

    def __init__(self) -> None:
        self.reads = 0
        self.asked = threading.Event()

    def on_command(self, args: Args) -> Answer:
        self.reads += args[0] == b"MGET" and b"key:1" in args
        if args[0] != b"PING" or self.reads < 2:
            return args
        self.asked.set()
        return b""


def test_a_signal_ends_the_wait_for_the_last_look(server: ServerFactory) -> None:
    source, target, hooks = server("7.0"), server("7.0"), AnswersNoLook()
    write_strings(source, 100)
    with Proxy(source, hooks) as proxy, start_live(proxy, target) as run:
        assert hooks.asked.wait(60), run.err
        run.signal_all(signal.SIGTERM)
        done = followed(run)
    assert done.ran.code == 128 + signal.SIGTERM, done.ran.err
    assert not done.live["converged"]
