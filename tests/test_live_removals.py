"""What a live copy removes at the target: what went at the source, and nothing of others."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import bloom
from tests.support.compare import all_keys, assert_equal
from tests.support.filling import write_strings
from tests.support.hooks import Verifying
from tests.support.live import (
    UNTIL_A_SIGNAL,
    Followed,
    cut_over,
    followed,
    lose_feeds,
    start_live,
    wait_for_feed,
    wait_until,
    wait_until_followed,
)
from tests.support.processes import Run
from tests.support.respproxy import Answer, Args, Proxy
from tests.support.servers import Server


def test_keys_of_the_target_stay_and_what_was_not_ours_to_remove_is_told(server: ServerFactory) -> None:
    """One has gone at the source, and one is there still, but does not pass the filters any more."""
    source, target = server("7.0"), server("7.0")
    target.call("SET", "theirs", "1")
    source.call("MSET", "a", "1", "b", "1", "c", "1")
    with start_live(source, target, "--type", "string", *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 4)
        source.call("DEL", "a")
        source.call("DEL", "b")
        source.call("HSET", "b", "a hash", "by now")
        done = cut_over(run)
    assert done.ran.code == 1
    assert all_keys(target) == {b"a", b"b", b"c", b"theirs"}
    for key in "ab":
        assert f'gone or filtered out at the source, and still at the target: "{key}"' in done.ran.err
    assert done.live["left"] == 2 and not done.live["converged"]


def test_what_was_not_ours_to_remove_and_has_gone_by_itself_is_told_no_more(server: ServerFactory) -> None:
    """One has been removed by others meanwhile, and the time of one is up."""
    source, target = server("7.0"), server("7.0")
    target.call("SET", "theirs", "1")
    source.call("MSET", "a", "1", "b", "1")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 3)
        wait_for_feed(source)
        source.call("SET", "short", "1", "PX", 4000)
        wait_until_followed(target, "short")
        source.call("DEL", "a", "b", "short")
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        time.sleep(1)
        target.call("DEL", "a")
        wait_until(lambda: target.call("EXISTS", "short") == 0)
        done = cut_over(run)
    assert all_keys(target) == {b"b", b"marker", b"theirs"}
    assert (done.ran.code, done.live["left"]) == (1, 1)
    assert 'and still at the target: "b"' in done.ran.err and '"a"' not in done.ran.err


@pytest.mark.covers("prune")
def test_prune_removes_what_the_source_has_not(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    target.call("MSET", "theirs", "1", "kept:x", "1")
    source.call("MSET", "a", "1", "b", "1")
    with start_live(source, target, "--prune", "--exclude", "kept:*", *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "b")
        source.call("DEL", "a")
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert all_keys(target) == {b"b", b"kept:x"}


#: What others write, and to which server.
THEIRS = [
    ("7.0", ("HSET", "theirs", "field", "1")),
    ("7.0", ("SET", "theirs", "1")),
    ("8.2", ("HSETEX", "theirs", "EX", "1000", "FIELDS", "1", "field", "1")),
    ("8.2", ("VADD", "theirs", "VALUES", "1", "1", "element")),
    ("9.1", ("MSETEX", "1", "theirs", "1", "EX", "1000")),
    ("9.1", ("BF.ADD", "theirs", "1")),
    ("6.2", ("EVAL", "return redis.call('RPUSH', KEYS[1], '1')", "1", "theirs")),
]


@pytest.mark.parametrize(("kind", "words"), THEIRS, ids=[f"{words[0]}-{kind}" for kind, words in THEIRS])
def test_removing_ends_where_others_write_to_the_target(
    kind: str, words: tuple[str, ...], server: ServerFactory
) -> None:
    source, target = server("7.0"), server(kind, modules=[bloom()])
    source.call("MSET", "a", "1", "b", "1")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "b")
        time.sleep(1.5)
        target.call(*words)
        run.wait_for_text("others write to the target")
        source.call("DEL", "a")
        done = cut_over(run)
    assert done.ran.code == 1
    assert all_keys(target) == {b"a", b"b", b"theirs"}


def cut_over_after_a_gap(run: Run, source: Server) -> Followed:
    """The feed is lost, and everything copied again."""
    lose_feeds(source)
    run.wait_for_text("gap: ")
    wait_for_feed(source)
    return cut_over(run)


@pytest.mark.parametrize(
    "words",
    [("HSETEX", "theirs", "FIELDS", "1", "field", "1"), ("VADD", "theirs", "VALUES", "1", "1", "element")],
    ids=["HSETEX", "VADD"],
)
def test_what_others_have_written_outlives_a_sweep(words: tuple[str, ...], server: ServerFactory) -> None:
    source, target = server("7.0"), server("8.2")
    source.call("MSET", "a", "1", "b", "1")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "b")
        time.sleep(1.5)
        assert target.call(*words) == 1
        run.wait_for_text("others write to the target")
        done = cut_over_after_a_gap(run, source)
    assert all_keys(target) == {b"a", b"b", b"theirs"}
    assert done.ran.code == 1 and done.live["left"] == 1


def test_what_others_have_written_stays_also_after_a_verification(server: ServerFactory) -> None:
    """Something was written while it was verified, so the copy goes on: it may not remove what it might not before."""
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "a", "1", "key", "1")
    late = Verifying(lambda: source.call("SET", "meanwhile", "1"))
    with Proxy(target, late) as proxy, start_live(source, proxy, "--idle-timeout", "3s") as run:
        wait_until_followed(target, "key")
        time.sleep(1.5)
        target.call("SET", "theirs", "1")
        run.wait_for_text("others write to the target")
        wait_until_followed(target, "meanwhile")
        source.call("DEL", "a")
        lose_feeds(source)
        done = followed(run)
    assert all_keys(target) == {b"a", b"key", b"meanwhile", b"theirs"}
    assert (done.ran.code, done.live["gaps"], done.live["left"]) == (1, 1, 2)


def test_what_others_write_while_it_is_verified_outlives_a_sweep(server: ServerFactory) -> None:
    """Nothing of ours writes then, so any command that does is theirs, also one that we send at other times."""
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "a", "1", "key", "1")

    def write() -> None:
        target.call("SET", "theirs", "1")
        source.call("SET", "meanwhile", "1")

    with Proxy(target, Verifying(write)) as proxy, start_live(source, proxy, "--idle-timeout", "2s") as run:
        wait_until_followed(target, "meanwhile")
        lose_feeds(source)
        done = followed(run)
    assert all_keys(target) == {b"a", b"key", b"meanwhile", b"theirs"}
    assert "others write to the target" in done.ran.err
    assert (done.ran.code, done.live["left"]) == (1, 1)


class AtTheFeed(Verifying):
    """Something happens when a feed begins to listen: the target was looked at before, and nothing is copied yet."""

    def on_command(self, args: Args) -> Answer:
        if args[-1] == b"BCAST" and not self.acted:
            self.acted = True
            self.act()
        return args


def test_what_others_write_right_before_the_copy_outlives_a_sweep(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "a", "1", "key", "1")
    early = AtTheFeed(lambda: target.call("SET", "theirs", "1"))
    with Proxy(source, early) as proxy, start_live(proxy, target, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "key")
        run.wait_for_text("others write to the target")
        done = cut_over_after_a_gap(run, source)
    assert all_keys(target) == {b"a", b"key", b"theirs"}
    assert (done.ran.code, done.live["left"]) == (1, 1)


#: What watches a server, reads it, or belongs to its replicas and Sentinels.
WATCHING = """
    PING | INFO everything | CONFIG GET maxmemory | SLOWLOG GET | LATENCY LATEST | MEMORY STATS | DBSIZE | SCAN 0
    TIME | ROLE | LASTSAVE | CLIENT LIST | CLIENT SETNAME watcher | COMMAND COUNT | ACL WHOAMI | HELLO 2 | ECHO x
    MULTI | GET b | EXEC | WATCH b | UNWATCH | OBJECT ENCODING b | MEMORY USAGE b | TYPE b | TTL b | EXISTS b | TOUCH b
    MGET a b | STRLEN b | PUBLISH __sentinel__:hello x | SCRIPT LOAD return | EVAL return(1) 0 | BF.EXISTS bloom x
    XINFO STREAM none | REPLCONF listening-port 1 | SORT_RO b | DUMP b | CLUSTER INFO | WAIT 0 0
""".replace("\n", "|").split("|")


@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
@pytest.mark.parametrize("denied", ["", "-command"], ids=["told", "not told"])
def test_who_watches_and_reads_the_target_writes_nothing(kind: str, denied: str, server: ServerFactory) -> None:
    """Where the copy may not ask for the server's commands, nobody knows what those of modules do."""
    acl = [f"user default on nopass ~* &* +@all {denied}", "user watcher on nopass ~* &* +@all"]
    source, target = server("7.0"), server(kind, acl=acl, modules=[bloom()])
    source.call("MSET", "a", "1", "b", "1")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run, target.connect() as watcher:
        watcher.call("AUTH", "watcher", "any")
        wait_until_followed(target, "b")
        time.sleep(2.5)
        for line in WATCHING:
            if line.strip() and not (denied and "BF." in line):
                watcher.call(*line.split())
        time.sleep(2.5)
        source.call("DEL", "a")
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert "others write" not in done.ran.err
    assert target.call("EXISTS", "a") == 0


def test_a_key_that_does_not_pass_the_filters_any_more_goes(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for name in "abcde":
        source.call("HSET", name, "field", "value")
    filters = ("--type", "hash", "--max-size", "1k", "--min-ttl", "1h")
    with start_live(source, target, *filters, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 5)
        source.call("SET", "a", "a string by now")
        source.call("DEL", "b")
        source.call("HSET", "c", "field", "changed")
        source.call("HSET", "d", "field", "x" * 2000)
        source.call("EXPIRE", "e", 60)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert all_keys(target) == {b"c"}
    assert target.call("HGET", "c", "field") == b"changed"


def test_a_source_that_comes_back_empty_does_not_empty_the_target(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 500)
    with start_live(source, target, "--idle-timeout", "1h") as run:
        wait_until(lambda: target.call("DBSIZE") == 500)
        source.restart(keep_data=False)
        done = followed(run)
    assert done.ran.code == 8
    assert "has 0 keys now, not 500: nothing was removed" in done.ran.err
    assert target.call("DBSIZE") == 500


def test_a_source_that_comes_back_empty_empties_the_target_with_prune(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 500)
    with start_live(source, target, "--prune", *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 500)
        source.restart(keep_data=False)
        wait_for_feed(source)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        wait_until(lambda: target.call("DBSIZE") == 1)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert all_keys(target) == {b"marker"}


def test_keys_that_were_at_the_target_before_end_nothing_when_the_source_comes_back(server: ServerFactory) -> None:
    """None of them would be removed, so they do not count as what would."""
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 100)
    with target.connect() as connection:
        connection.pipeline([("SET", f"theirs:{number}", "1") for number in range(50)])
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 150)
        source.restart(keep_data=True)
        wait_for_feed(source)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert done.ran.code == 1, done.ran.err
    assert done.live["left"] == 50 and target.call("DBSIZE") == 151


def restart_once_its_size_is_told(source: Server, target: Server) -> None:
    looks = source.calls("config|get")  # each look in full asks for the settings, too
    wait_until(lambda: source.calls("config|get") >= looks + 3)  # one is through
    source.restart(keep_data=True)
    wait_for_feed(source)
    source.call("SET", "marker", "1")
    wait_until_followed(target)


def test_a_source_that_was_made_smaller_before_it_comes_back_is_followed_on(server: ServerFactory) -> None:
    """What its clients had deleted is not lost; nor what is not copied."""
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 500)
    with source.connect(db=3) as connection:
        connection.call("SET", "key", "value")
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 500)
        source.call("DEL", *sorted(all_keys(source))[:200])
        wait_until(lambda: target.call("DBSIZE") == 300)
        restart_once_its_size_is_told(source, target)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert_equal(source, target)


def test_a_source_that_was_emptied_before_it_comes_back_is_followed_on(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 500)
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 500)
        wait_for_feed(source)
        source.call("DEL", *all_keys(source))
        wait_until(lambda: target.call("DBSIZE") == 0)
        restart_once_its_size_is_told(source, target)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert all_keys(target) == {b"marker"}


def test_a_source_that_comes_back_with_its_data_is_followed_on(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 500)
    with start_live(source, target, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("DBSIZE") == 500)
        source.call("DEL", *sorted(all_keys(source))[:1])
        source.restart(keep_data=True)
        wait_for_feed(source)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert_equal(source, target)
