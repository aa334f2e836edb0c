"""What a live copy removes at the target: what went at the source, and nothing of others."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import all_keys, assert_equal
from tests.support.live import (
    UNTIL_A_SIGNAL,
    cut_over,
    followed,
    start_live,
    wait_for_feed,
    wait_until,
    wait_until_followed,
)
from tests.test_options import write_strings


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


@pytest.mark.parametrize("words", [("HSET", "theirs", "field", "1"), ("SET", "theirs", "1")], ids=["HSET", "SET"])
def test_removing_ends_where_others_write_to_the_target(words: tuple[str, ...], server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
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
