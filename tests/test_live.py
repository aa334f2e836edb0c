"""`keyferry replicate --live`: changes are followed to the end, and the end is found; nothing is claimed too much."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from keyferry.passes import PASSES_MAX
from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.compare import all_keys, assert_equal, lost
from tests.support.filling import write_strings
from tests.support.live import (
    UNTIL_A_SIGNAL,
    assert_converged,
    cut_over,
    follow_writes,
    followed,
    generated,
    notify,
    start_live,
    start_writer,
    wait_for_feed,
    wait_until,
    wait_until_followed,
)
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.servers import Server


@pytest.mark.covers("live", "idle-timeout")
def test_the_line_of_the_seed(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, 1000)
    line = f"-h 127.0.0.1 -p {source.port} replicate --idle-timeout 500 -h 127.0.0.1 -p {target.port} --live"
    ran = run_keyferry(*line.split(), env=VERIFIED)
    assert ran.code == 0, ran.err
    assert_equal(source, target)
    copied, live, verified, _, verdict = ran.out.splitlines()
    assert copied.startswith("copy         ~1,000 keys ")
    assert live == "live              0 keys    converged, lag max 0.00 s"
    assert verified.startswith("verify        1,000 keys ")
    assert verdict == "OK:1000 V:0 >:0 <:0 T:0"


def test_without_verification_it_is_never_said_that_both_sides_are_equal(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    line = ("-p", str(source.port), "replicate", "-p", str(target.port), "--live", "--idle-timeout", "500")
    ran = run_keyferry(*line, "--no-verify")
    assert ran.code == 0, ran.err
    assert "converged" not in ran.out
    assert "not verified" in ran.out
    assert "it is not claimed that both sides are equal" in ran.err


@pytest.mark.covers("on-converged")
def test_a_command_is_run_when_both_sides_are_equal(tmp_path: Path, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    told = tmp_path / "told"
    with start_live(source, target, "--on-converged", f"echo $KEYFERRY_VERDICT $KEYFERRY_KEYS > {told}") as run:
        assert followed(run).ran.code == 0
    assert told.read_text() == "OK:100 V:0 >:0 <:0 T:0 100\n"
    told.unlink()
    target.call("SET", "theirs", "1")
    with start_live(source, target, "--on-converged", f"echo > {told}; exit 3") as run:
        done = followed(run)
    assert told.exists()
    assert done.ran.code == 1
    assert "--on-converged: the command ended with code 3" in done.ran.err


def flush_and_write_groups(source: Server) -> None:
    source.call("FLUSHDB")
    source.call("XADD", "late", "1-1", "field", "value")
    source.call("XGROUP", "CREATE", "late", "group", "0")


@pytest.mark.covers("feed")
@pytest.mark.parametrize(
    ("kind", "feed"),
    [
        pytest.param(kind, feed, marks=() if (kind in ("6.2", "8.2")) == (feed == "tracking") else pytest.mark.soak)
        for kind in KINDS
        for feed in ("tracking", "notifications")
    ],
)
def test_mixed_writes_and_a_flush_are_followed_to_the_end(kind: str, feed: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    notify(source)
    generated(source, 10_000)
    flush = lambda run: flush_and_write_groups(source)  # noqa: E731
    done = follow_writes(source, target, 10_000, 10_000, 2, "--feed", feed, meanwhile=flush)
    assert_converged(source, target, done, gaps=1)
    assert done.live["keys"] > 1_000


@pytest.mark.soak
@pytest.mark.parametrize("feed", ["tracking", "notifications"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_minute_of_mixed_writes_over_many_keys(kind: str, feed: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    notify(source)
    generated(source, 200_000)
    flush = lambda run: flush_and_write_groups(source)  # noqa: E731
    done = follow_writes(source, target, 200_000, 20_000, 60, "--feed", feed, meanwhile=flush)
    assert_converged(source, target, done, gaps=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_mixed_writes_of_many_seeds(seed: int, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, 20_000, seed=seed)
    with start_writer(source, 20_000, 20_000, 6, seed=seed) as writer, start_live(source, target) as run:
        assert writer.wait(60).code == 0
        assert_converged(source, target, followed(run))


def test_several_databases_are_followed_by_notifications(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    notify(source)
    for db in (0, 2, 5):
        with source.connect(db) as connection:
            connection.pipeline([("SET", f"key:{number}", f"in {db}") for number in range(500)])
    with start_live(source, target, "--db-map", "0:1,2:3", *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        with source.connect(2) as connection:
            connection.pipeline(
                [("SET", "key:1", "changed"), ("DEL", "key:2"), ("MOVE", "key:3", "0"), ("SET", "m", 1)]
            )
            connection.pipeline([("COPY", "key:4", "copied", "DB", "0"), ("MOVE", "key:5", "5"), ("SET", "last", 1)])
        for db, key in ((1, "copied"), (3, "last")):
            with target.connect(db) as connection:
                wait_until(lambda: connection.call("EXISTS", key) == 1)
        assert cut_over(run).ran.code == 0
    assert_equal(source, target, db=0, target_db=1)
    assert_equal(source, target, db=2, target_db=3)
    assert not all_keys(target, 5)


def test_a_database_that_appears_is_copied_and_followed_like_the_others(server: ServerFactory) -> None:
    """Its target was empty then, so that keys may go there as well."""
    source, target = server("7.0"), server("7.0")
    notify(source)
    source.call("SET", "first", 1)
    with start_live(source, target, "--dbs", "all", *UNTIL_A_SIGNAL) as run, target.connect(7) as there:
        wait_until(lambda: target.call("EXISTS", "first") == 1)
        with source.connect(7) as connection:
            connection.pipeline([("SET", "goes", 1), ("SET", "stays", 1)])
            wait_until(lambda: there.call("EXISTS", "goes", "stays") == 2)
            connection.pipeline([("DEL", "goes"), ("SET", "comes", 1)])
        wait_until(lambda: there.call("EXISTS", "goes") == 0 and there.call("EXISTS", "comes") == 1)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert "database 7 has appeared, and is to be copied too: the copy begins again" in done.ran.err
    for db in (0, 7):
        assert_equal(source, target, db=db, target_db=db)


def test_databases_that_appear_end_nothing_whatever_has_gone_until_then(server: ServerFactory) -> None:
    """The servers are the same, so nobody has lost anything; and there are more of them than a run has passes."""
    source, target = server("7.0"), server("7.0")
    notify(source)
    write_strings(source, 100)
    with start_live(source, target, "--dbs", "all", *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 100)
        source.call("DEL", *sorted(all_keys(source))[:50])
        for db in range(1, PASSES_MAX + 2):
            with source.connect(db) as connection, target.connect(db) as there:
                connection.call("SET", "key", 1)
                wait_until(lambda: there.call("EXISTS", "key") == 1 or not run.running)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    for db in range(PASSES_MAX + 2):
        assert_equal(source, target, db=db, target_db=db)


def test_a_database_that_appears_while_changes_only_are_followed_is_copied_whole(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    notify(source)
    source.call("SET", "key", 1)
    with start_live(source, target, "--dbs", "all", "--live-only", "--no-verify", *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        with source.connect(7) as connection:
            connection.call("SET", "first", 1)
            run.wait_for_text("database 7 has appeared")
            with target.connect(7) as there:
                connection.call("SET", "marker", 1)
                wait_until(lambda: there.call("EXISTS", "marker") == 1)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert all_keys(target, 7) == {b"first", b"marker"}


def test_keys_that_go_on_expiring_do_not_keep_it_from_ending(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    with source.connect() as connection:
        connection.pipeline([("SET", f"key:{n}", n, "PX", 1000 + n * 10) for n in range(10_000)])
    with start_live(source, target) as run:
        done = followed(run)
    assert done.ran.code == 0, done.ran.err
    assert source.call("DBSIZE") > 2000, "they were still expiring when it ended"
    alive = [f"key:{n}".encode() for n in range(6000, 10_000)]
    assert lost(alive, target) == []
    with source.connect() as one, target.connect() as other:
        ends = [connection.pipeline([("PEXPIRETIME", key) for key in alive]) for connection in (one, other)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("feed", ["tracking", "notifications"])
def test_writes_to_what_is_not_copied_do_not_keep_it_from_ending(feed: str, server: ServerFactory) -> None:
    """Nor do events of keys that are copied and go on expiring, though the source is never still."""
    source, target = server("7.0"), server("7.0")
    notify(source)
    write_strings(source, 500)
    with source.connect() as connection:
        connection.pipeline([("SET", f"key:mortal:{n}", n, "PX", 1000 + n * 10) for n in range(3_000)])
    stop = threading.Event()

    def write() -> None:
        with source.connect() as connection:
            while not stop.wait(0.005):
                connection.call("INCR", "other:counter")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with start_live(source, target, "--match", "key:*", "--feed", feed) as run:
            done = followed(run)
    finally:
        stop.set()
        thread.join()
    assert done.ran.code == 0, done.ran.err
    assert len([key for key in all_keys(target) if b"mortal" not in key]) == 500


def test_one_key_written_many_times_has_its_last_value(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        with source.connect() as connection:
            for number in range(200):
                connection.pipeline([("SET", "hot", f"{number}:{turn}") for turn in range(50)])
        wait_until_followed(target, "hot")
        done = cut_over(run)
    assert_converged(source, target, done)
    assert target.call("GET", "hot") == b"199:49"


@pytest.mark.parametrize("count", [50_000, pytest.param(500_000, marks=pytest.mark.soak)])
def test_writes_at_full_speed_are_all_there(count: int, server: ServerFactory) -> None:
    source, target = server("8.2"), server("8.2")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        with source.connect() as connection:
            for start in range(0, count, 5000):
                connection.pipeline([("SET", f"key:{n}", n) for n in range(start, start + 5000)])
        wait_until_followed(target, "key:0")
        done = cut_over(run)
    assert_converged(source, target, done)
    assert target.call("DBSIZE") == count


def test_a_large_hash_that_changes_all_the_time_does_not_hold_up_the_others(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    with source.connect() as connection:
        for start in range(0, 300_000, 3000):
            words = [word for n in range(start, start + 3000) for word in (b"field:%d" % n, b"x" * 300)]
            connection.pipeline([("HSET", "large", *words)])
        with start_live(source, target, *UNTIL_A_SIGNAL) as run:
            wait_for_feed(source)
            wait_until_followed(target, "large")
            source.call("HSET", "large", "field:1", "first")
            wait_until(lambda: target.call("HGET", "large", "field:1") == b"first", 60)
            source.call("HSET", "large", "field:1", "second")
            for number in range(10):
                source.call("SET", f"small:{number}", number)
                wait_until_followed(target, f"small:{number}")
            assert target.call("HGET", "large", "field:1") == b"first", "it was copied again at once"
            done = cut_over(run)
    assert_converged(source, target, done)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("6.2", ()), ("9.1", ()), ("9.1", ("--type", "Stream"))],
    ids=["6.2", "9.1", "of that type"],
)
def test_streams_that_were_changed_silently_are_copied_again(
    kind: str, words: tuple[str, ...], server: ServerFactory
) -> None:
    source, target = server(kind), server(kind)
    source.call("XADD", "stream", "1-1", "field", "value")
    source.call("XADD", "stream", "1-2", "field", "value")
    source.call("XGROUP", "CREATE", "stream", "group", "0")
    with start_live(source, target, *UNTIL_A_SIGNAL, *words) as run:
        wait_until_followed(target, "stream")
        source.call("XREADGROUP", "GROUP", "group", "one", "COUNT", "2", "STREAMS", "stream", ">")
        source.call("XACK", "stream", "group", "1-1")
        done = cut_over(run)
    assert_converged(source, target, done)
    assert len(target.call("XPENDING", "stream", "group", "-", "+", "10")) == 1


def test_entries_that_were_acknowledged_and_stayed_are_copied_again(server: ServerFactory) -> None:
    """XACKDEL deletes no entry that another group still has: then no feed tells of it."""
    source, target = server("8.2"), server("8.2")
    source.call("XADD", "stream", "1-1", "field", "value")
    for group in ("one", "two"):
        source.call("XGROUP", "CREATE", "stream", group, "0")
        source.call("XREADGROUP", "GROUP", group, "reader", "STREAMS", "stream", ">")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "stream")
        wait_for_feed(source)
        assert source.call("XACKDEL", "stream", "one", "ACKED", "IDS", "1", "1-1") == [2]
        done = cut_over(run)
    assert_converged(source, target, done)
    assert target.call("XPENDING", "stream", "one", "-", "+", "10") == []


@pytest.mark.covers("live-only")
def test_only_changes_are_followed_where_that_is_asked_for(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "old", "1", "changed", "1")
    with start_live(source, target, "--live-only", *UNTIL_A_SIGNAL) as run:
        wait_for_feed(source)
        source.call("SET", "changed", "2")
        wait_until_followed(target, "changed")
        cut_over(run)
    assert all_keys(target) == {b"changed"}
