"""Ways to lose a key and still call the copy proved, and the rules of the verification that close them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import redis

from keyferry.census import is_still
from keyferry.partitioners.topology import describe
from keyferry.verdict import Verdict
from keyferry.workers.finding import CHANGING, EXPIRY, ONLY_SOURCE, TYPE, VALUE
from tests.conftest import ServerFactory
from tests.support.commands import at, compared, verdict_of
from tests.support.control import control_of
from tests.support.disguises import ClockSkew, Written
from tests.support.filling import write_strings
from tests.support.live import wait_until
from tests.support.processes import VERIFIED, run_keyferry, start_keyferry
from tests.support.respproxy import Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.threads import meanwhile


def again_and_again(server: Server, *commands: tuple[Any, ...]) -> AbstractContextManager[None]:
    """A client sends these commands as long as the block lasts."""

    def write(ended: threading.Event) -> None:
        with server.connect() as connection:
            while not ended.is_set():
                connection.pipeline(commands)

    return meanwhile(write)


# ---- rule 5: filters concern the source's key ----------------------------------------------------------------------


def test_a_key_that_passes_the_filter_at_the_target_only_is_found(server: ServerFactory) -> None:
    """It was a hash when it was copied, and has become a string since."""
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        one.client.hset("hash", "field", "value")
        one.client.set("string", "equal, and no hash")
    target.client.hset("became a string", "field", "value")
    source.client.set("became a string", "value")
    assert verdict_of(compared(source, target, "--type", "hash")) == "OK:1 V:0 >:0 <:1 T:0"


def test_a_key_that_no_filter_lets_pass_at_the_source_but_is_equal_is_none(server: ServerFactory) -> None:
    """Sizes are estimates, and differ between versions: a key may pass at one side only."""
    source, target = server("6.2"), server("9.1")
    for one in (source, target):
        one.client.rpush("list", *(f"{n:050}" for n in range(20)))
    sizes = sorted(int(one.call("MEMORY", "USAGE", "list")) for one in (source, target))
    assert sizes[0] < sizes[1], "the estimates are equal: this test shows nothing"
    assert compared(source, target, "--max-size", str(sizes[0])).code == 0
    assert compared(target, source, "--max-size", str(sizes[0])).code == 0


@pytest.mark.parametrize(("ahead_s", "scope"), [(60, "--min-ttl"), (-60, "--max-ttl")])
def test_filters_of_expiries_go_by_the_sources_clock_at_the_target_too(
    ahead_s: int, scope: str, server: ServerFactory
) -> None:
    """By the clock of the target a key seems to be in scope, of which nothing was asked: it is nobody's to remove."""
    source, target = server("7.0"), server("7.0")
    now_ms = int(time.time() * 1000)
    for one, later_ms in ((source, 0), (target, ahead_s * 1000)):
        one.client.set("in scope", "value", pxat=now_ms + later_ms + 600_000 + (1 if ahead_s > 0 else -1) * 300_000)
        one.client.set("out of scope", one.port, pxat=now_ms + later_ms + 600_000 - ahead_s * 500)
    with Proxy(target, ClockSkew(ahead_s)) as proxy:
        ran = compared(source, proxy, scope, "10m", "--repair", "--prune")
    assert (ran.code, verdict_of(ran)) == (0, "OK:1 V:0 >:0 <:0 T:0"), ran.out
    assert target.client.get("out of scope") == b"%d" % target.port


# ---- rule 7: what is lost once is not lost twice ---------------------------------------------------------------------


class Hiding(Hooks):
    """SCAN never tells of one key."""

    replies_of = frozenset({b"SCAN"})

    def on_reply(self, args: Args, reply: Any) -> Any:
        return [reply[0], [key for key in reply[1] if key != b"key:7"]]


def test_a_key_that_no_scan_brings_is_missed_by_counting(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    with Proxy(source, Hiding()) as proxy:
        ran = run_keyferry(*at(proxy), "replicate", *at(target), env=VERIFIED)
        again = run_keyferry(*at(proxy), "compare", *at(target))
    for one in (ran, again):
        assert one.code == 1
        assert "its DBSIZE is 100, but SCAN brought 99 keys" in one.out
    assert verdict_of(again) == "OK:~99 V:0 >:0 <:0 T:0"


def test_counting_is_left_to_whole_databases(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 100)
    ran = compared(source, target, "--match", "key:1*")
    assert (ran.code, verdict_of(ran)) == (0, "OK:11 V:0 >:0 <:0 T:0")


class Losing(Hooks):
    """Once values have been compared, `lose` is called before the keys are counted again."""

    def __init__(self, lose: Callable[[], Any]) -> None:
        self.lose = lose
        self.compared = self.lost = False

    def on_command(self, args: Args) -> Args:
        self.compared = self.compared or (args[0] == b"MGET" and args[1].startswith(b"key:"))
        if self.compared and not self.lost and args[0] == b"DBSIZE":
            self.lost = True
            self.lose()
        return args


def test_keys_that_the_target_loses_after_they_were_compared_are_missed(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 1000)
    client = target.client
    with Proxy(target, Losing(lambda: client.delete(*(f"key:{n}" for n in range(10))))) as proxy:
        ran = run_keyferry(*at(source), "replicate", *at(proxy), env=VERIFIED)
    assert ran.code == 1
    assert "db 0 of the target lost 10 keys while they were compared" in ran.out
    write_strings(target, 1000)
    with Proxy(target, Losing(client.flushdb)) as proxy:
        again = run_keyferry(*at(source), "compare", *at(proxy))
    assert again.code == 1
    assert "db 0 of the target lost 1,000 keys while they were compared" in again.out


def test_a_database_that_a_restarted_source_has_no_more_is_compared_all_the_same(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 20_000)
    write_strings(source, 100, db=1)
    words = ("replicate", *at(target), "--dbs", "all", "--workers", "2", "--rate", "10000")
    with start_keyferry(*at(source), *words, env=VERIFIED) as run:
        with target.connect(1) as theirs, source.connect(1) as ours:
            wait_until(lambda: theirs.must("DBSIZE") == 100)
            ours.must("FLUSHDB")
        source.restart(keep_data=True)
        ran = run.wait(60)
    assert (ran.code, verdict_of(ran)) == (1, "OK:20000 V:0 >:0 <:100 T:0")


def test_a_target_that_evicts_while_it_is_verified_forbids_0(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 1000)
    client = target.client

    def evict() -> None:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", 1)
        with contextlib.suppress(redis.ResponseError):
            client.set("one", "more")
        client.config_set("maxmemory", 0)

    with Proxy(target, Losing(evict)) as proxy:
        ran = run_keyferry(*at(source), "replicate", *at(proxy), "--json", env=VERIFIED)
    found = json.loads(ran.out)
    assert ran.code == found["exit_code"] == 1
    assert found["evicted_at_target"] == int(target.info("stats")["evicted_keys"]) > 0
    assert found["verify"]["not_explained"] == [f"the target evicted {found['evicted_at_target']:,} keys"]


def test_keys_that_expire_while_they_are_compared_are_not_missed(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 1000)
        one.client.psetex("short", 3_000, "value")
    client = target.client

    def wait() -> None:
        deadline = time.monotonic() + 10
        while client.dbsize() > 1000 and time.monotonic() < deadline:
            time.sleep(0.05)

    with Proxy(target, Losing(wait)) as proxy:
        assert run_keyferry(*at(source), "compare", *at(proxy)).code == 0


class ExpiringAtEachCount(Hooks):
    """Stands before the target. Once values have been compared, a key of both sides ends before each count of keys."""

    def __init__(self, *servers: Server) -> None:
        self.servers = servers
        self.compared = False
        self.ended = 0

    def on_command(self, args: Args) -> Args:
        self.compared = self.compared or (args[0] == b"MGET" and args[1].startswith(b"key:"))
        if self.compared and args[0] == b"DBSIZE":
            for one in self.servers:
                one.call("PEXPIRE", f"key:{self.ended}", 1)
                wait_until(lambda one=one: not one.call("EXISTS", f"key:{self.ended}"))
            self.ended += 1
        return args


def test_keys_that_expire_right_before_they_are_counted_are_not_missed_either(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 1000)
    with Proxy(target, ExpiringAtEachCount(source, target)) as proxy:
        ran = compared(source, proxy)
    assert (ran.code, verdict_of(ran)) == (0, "OK:~1000 V:0 >:0 <:0 T:0"), ran.out


def test_the_target_may_lose_keys_that_a_filter_leaves_out(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 100)
    client = target.client
    client.set("theirs", "value")
    with Proxy(target, Losing(lambda: client.delete("theirs"))) as proxy:
        ran = run_keyferry(*at(source), "compare", *at(proxy), "--match", "key:*")
    assert (ran.code, verdict_of(ran)) == (0, "OK:100 V:0 >:0 <:0 T:0")
    assert "db 0 of the target lost 1 key while it was compared" in ran.err


@pytest.mark.parametrize("kind", ["6.2", "9.1"])
def test_a_save_between_two_looks_hides_no_write(kind: str, server: ServerFactory) -> None:
    one = server(kind)
    with control_of(one) as control:
        one.client.save()
        time.sleep(1.1)
        before = describe(control)
        assert is_still(before, describe(control))
        write_strings(one, 5)
        one.client.save()
        after = describe(control)
        assert after.changes == before.changes
        assert not is_still(before, after)


@pytest.mark.parametrize("kind", ["6.2", "9.1"])
def test_two_saves_in_one_second_hide_no_write(kind: str, server: ServerFactory) -> None:
    """Nothing that a server tells of them differs: not even the second of the last save."""
    one = server(kind)
    with control_of(one) as control:
        while True:
            one.client.save()
            before = describe(control)
            write_strings(one, 5)
            one.client.save()
            after = describe(control)
            if after.saved_at == before.saved_at:
                break
        assert after.changes == before.changes == 0
        assert not is_still(before, after)
        time.sleep(1.1)
        assert is_still(describe(control), describe(control))


# ---- rule 17: what changes, and what has expired ---------------------------------------------------------------------


def test_a_lost_update_of_a_busy_counter_differs_and_is_not_called_changing(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    target.client.set("counter", "-5")
    with Proxy(source, Written(source, "INCR", "counter")) as proxy:
        ran = compared(proxy, target, "--rounds", "3", "--json")
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["value"], verify["changing"]) == (1, 1, 0)


class Restless(Hooks):
    """Whoever reads the list finds another one each time; it has as many elements as before."""

    replies_of = frozenset({b"LRANGE"})
    readings = 0

    def on_reply(self, args: Args, reply: Any) -> Any:
        self.readings += 1
        return [b"%d" % self.readings] if reply else reply


def test_a_key_that_never_holds_still_is_changing_and_no_difference(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 50)
        one.client.rpush("list", "a")
    hooks = Restless()
    with Proxy(source, hooks) as proxy:
        ran = run_keyferry(*at(proxy), "compare", *at(target), "--json")
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["ok"], verify["changing"], verify["value"]) == (1, 50, 1, 0)
    assert verify["read"] == 51
    assert hooks.readings >= 3, "it was read once before it seemed to differ, and twice after that"


def test_only_the_targets_own_expiry_excuses_a_key_that_the_source_does_not_have(server: ServerFactory) -> None:
    """The source's key has expired; its copy has lost its expiry, and lives for ever."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 10)
    write_strings(target, 10)
    source.client.set("lost its expiry", "value", px=300)
    target.client.set("lost its expiry", "value")
    target.client.set("expires as well", "value", px=400)
    time.sleep(0.5)
    ran = compared(source, target)
    assert (ran.code, verdict_of(ran)) == (1, "OK:10 V:0 >:0 <:1 T:0")


@pytest.mark.parametrize(("kind", "tolerance"), [("7.0", "100ms"), ("7.0", "10m"), ("6.2", "1h")])
def test_a_tolerance_of_expiries_excuses_no_other_difference(kind: str, tolerance: str, server: ServerFactory) -> None:
    """A tool that has copied expiries by what was left of them may be minutes off: that says nothing of values."""
    source, target = server(kind), server(kind)
    for one in (source, target):
        write_strings(one, 10)
        one.client.set("other value", one.port, px=300_000)
    for key in ("lost its expiry", "of another type", "lost"):
        source.client.set(key, "value", px=300_000)
    target.client.set("lost its expiry", "value")
    target.client.rpush("of another type", "value")
    ran = compared(source, target, "--ttl-tolerance", tolerance)
    assert (ran.code, verdict_of(ran)) == (1, "OK:10 V:2 >:1 <:0 T:1"), ran.out


def test_keys_that_nobody_writes_are_equal_while_others_are_written(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 3_000)
    hot = tuple(("SET", f"hot:{n}", "x" * n) for n in range(300))
    with again_and_again(source, *hot, *(("INCR", f"count:{n}") for n in range(300))):
        time.sleep(0.1)
        words = (*at(source), "replicate", *at(target), "--diff-file", str(tmp_path / "file"), "--json")
        ran = run_keyferry(*words, env=VERIFIED)
    verify = json.loads(ran.out)["verify"]
    parts = ("ok", "value", "type", "only_at_source", "expiry", "changing", "expired", "unreadable", "skipped")
    assert verify["read"] == sum(verify[part] for part in parts)
    assert verify["ok"] >= 3_000 and ran.code == 1
    # How long the writer is kept from the processor decides which of its keys hold still long enough to be different.
    assert ("meanwhile, so the copy is behind" in ran.err) == bool(verify["value"] + verify["only_at_source"])
    assert ("kept changing while compared" in ran.err) == bool(verify["changing"])
    found = [json.loads(line)["key"] for line in (tmp_path / "file").read_text().splitlines()]
    assert found and all(key.startswith(("hot:", "count:")) for key in found)
    ran = run_keyferry(*at(source), "replicate", *at(target), env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:3600 V:0 >:0 <:0 T:0")
    assert "the copy is behind" not in ran.err


@pytest.mark.parametrize("kind", [VALUE, TYPE, ONLY_SOURCE, EXPIRY])
def test_a_copy_that_differs_is_behind_only_where_the_source_was_written_to(kind: str) -> None:
    def said(written: bool, copied: bool, found: str = kind) -> list[str]:
        verdict = Verdict(kinds=Counter({found: 1}), written=written)
        return [text for text, _ in verdict.warnings(copied=copied)]

    assert said(written=True, copied=True) == ["the source was written to meanwhile, so the copy is behind"]
    assert said(written=False, copied=True) == said(written=True, copied=False) == []
    assert said(written=True, copied=True, found=CHANGING) == ["1 key kept changing while compared"]
