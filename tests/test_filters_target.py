"""What filters choose at the target: the copies of the keys that they choose at the source, and no others."""

from __future__ import annotations

import json

import pytest

from tests.conftest import ClusterFactory, ServerFactory
from tests.support.commands import at, compared, verdict_of
from tests.support.disguises import ClockSkew
from tests.support.live import (
    UNTIL_A_SIGNAL,
    cut_over,
    feeds,
    start_live,
    wait_for_feed,
    wait_until,
    wait_until_followed,
)
from tests.support.processes import run_keyferry
from tests.support.respproxy import Proxy

HOUR_S = 3600


@pytest.mark.parametrize(
    ("ahead_s", "filter", "lives_s"),
    [(HOUR_S, ("--max-ttl", "10m"), 300), (-HOUR_S, ("--min-ttl", "90m"), 2 * HOUR_S)],
    ids=["ahead", "behind"],
)
def test_a_key_that_only_the_target_has_is_chosen_by_the_targets_clock(
    ahead_s: int, filter: tuple[str, ...], lives_s: int, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    now_s, _ = target.client.time()
    target.client.set("extra", "value", exat=now_s + ahead_s + lives_s)
    with Proxy(target, ClockSkew(ahead_s)) as proxy:
        ran = compared(source, proxy, *filter)
    assert (ran.code, verdict_of(ran)) == (1, "OK:0 V:0 >:0 <:1 T:0"), ran.out


#: A filter; how a key that it chooses is written, with a value; how one is that it does not choose.
STAYING = {
    "--type=hash": (("HSET", "chosen", "field"), "small"),
    "--max-size=100": (("SET", "chosen"), "v" * 1000),
    "--max-ttl=1h": (("SETEX", "chosen", 600), "small"),
}


@pytest.mark.parametrize("words", [("--prune",), ()], ids=["prune", "keep"])
@pytest.mark.parametrize("filter", STAYING)
def test_what_a_live_copy_does_not_choose_at_the_target_is_neither_removed_nor_missed(
    filter: str, words: tuple[str, ...], server: ServerFactory
) -> None:
    """Strings were brought by an earlier run, say; now hashes are followed."""
    source, target = server("7.0"), server("7.0")
    chosen, other = STAYING[filter]
    for one in (source, target):
        one.client.mset({"changes": other, "goes": other})
    source.call(*chosen, "old")
    with start_live(source, target, filter, *words, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.call("EXISTS", "chosen") == 1)
        source.client.set("changes", other[::-1] + "!")
        source.client.delete("goes")
        source.call(*chosen, "new")
        done = cut_over(run)
    assert target.call("MGET", "changes", "goes") == [other.encode()] * 2
    assert (done.ran.code, done.live["left"]) == (0, 0), done.ran.err


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "in a gap"])
@pytest.mark.parametrize("words", [(), ("--prune",)], ids=["empty", "prune"])
def test_what_a_live_copy_has_written_goes_though_it_takes_more_memory_at_the_target(
    seen: bool, words: tuple[str, ...], server: ServerFactory
) -> None:
    """A hash of 6.2 takes some bytes more at 7.0: more than --max-size lets pass."""
    source, target = server("6.2"), server("7.0")
    source.client.hset("hash", mapping={f"f{number}": f"v{number}" for number in range(200)})
    size = source.call("MEMORY", "USAGE", "hash")
    with start_live(source, target, "--max-size", str(size), *words, *UNTIL_A_SIGNAL) as run:
        wait_until_followed(target, "hash")
        assert target.call("MEMORY", "USAGE", "hash") > size
        wait_for_feed(source)
        lost = [] if seen else [("CLIENT", "KILL", "ID", feed) for feed in feeds(source)]
        with source.connect() as connection:
            connection.pipeline([("MULTI",), *lost, ("DEL", "hash"), ("EXEC",)])
        if lost:
            run.wait_for_text("gap: ")
            wait_for_feed(source)
        done = cut_over(run)
    assert (done.ran.code, done.live["converged"]) == (0, True), done.ran.err
    assert target.call("EXISTS", "hash") == 0


def test_what_a_live_copy_does_not_choose_at_a_cluster_stays_where_it_is(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = server("7.0"), cluster("7.0", 3, 0)
    names = [f"key:{number}" for number in range(60)]
    with target.connect() as there:
        for name in names:
            source.client.set(name, "equal")
            there.must("SET", name, "equal")
        source.client.hset("hash", "field", "value")
        with start_live(source, target.masters[0], "--type", "hash", "--prune", *UNTIL_A_SIGNAL) as run:
            wait_until(lambda: there.must("EXISTS", "hash") == 1)
            source.client.delete(*names)
            source.client.delete("hash")
            done = cut_over(run)
        assert [there.must("GET", name) for name in names] == [b"equal"] * 60
        assert there.must("EXISTS", "hash") == 0
    assert (done.ran.code, done.live["left"]) == (0, 0), done.ran.err


@pytest.mark.parametrize("limit", [(), ("--limit", "10")], ids=["all", "limit"])
@pytest.mark.parametrize("filter", ["--type=string", "--max-size=100", "--max-ttl=1h"])
def test_a_named_key_that_only_the_target_has_is_missed_by_no_filter(
    filter: str, limit: tuple[str, ...], server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        one.client.set("both", "value", ex=600)
    target.client.set("chosen", "value", ex=600)
    target.client.hset("other", "field", "v" * 1000)
    words = ("--keys-from", "-", filter, *limit, "--json")
    ran = run_keyferry(*at(source), "compare", *at(target), *words, input=b"both\nchosen\nother\nnobody's\n")
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["verdict"]) == (1, "OK:1 V:0 >:0 <:1 T:0"), ran.out
    assert (verify["read"], verify["expired"], verify["skipped"]) == (4, 2, 0)
