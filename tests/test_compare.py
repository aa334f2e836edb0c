"""`keyferry compare`, and the verification that ends a copy: what they count, what they call equal, what they find."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

import keyferry
from keyferry.partitioners.ranges import Cut
from keyferry.partitioners.slots import cut as cut_slots
from keyferry.verify_plan import shifted
from keyferry.workers.cursor import tile
from tests.conftest import ServerFactory
from tests.support.commands import at, compared, copied, verdict_of
from tests.support.dataset import fill
from tests.support.disguises import ClockSkew
from tests.support.filling import write_and_rest, write_strings
from tests.support.live import wait_until
from tests.support.matrix import pairs
from tests.support.monitor import Monitor
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.replication import follow, link_of
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of


@pairs
def test_a_copy_is_found_equal_and_one_change_of_each_kind_is_found(
    kinds: tuple[str, str], server: ServerFactory
) -> None:
    source, target = (server(kind) for kind in kinds)
    fill(source, 1_000)
    ran = run_keyferry(*at(source), "replicate", *at(target), env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:1000 V:0 >:0 <:0 T:0"), ran.out + ran.err
    for one in (source, target):
        one.client.mset({"value": "one", "type": "one", "gone": "one", "expiry": "one"})
    target.client.set("value", "other")
    target.client.delete("type", "gone")
    target.client.rpush("type", "one")
    target.client.expire("expiry", 1000)
    target.client.set("extra", "one")
    ran = compared(source, target)
    assert (ran.code, verdict_of(ran)) == (1, "OK:1000 V:2 >:1 <:1 T:1"), ran.out


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
@pytest.mark.parametrize("ranges", [1, 8, 64, 500])
def test_counts_equal_dbsize_in_any_number_of_ranges(ranges: int, kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    for one in (source, target):
        write_and_rest(one, [b"key:%d" % n for n in range(20_011)])
    target.client.set("extra", "value")  # has the target scanned as well
    verdict = keyferry.compare(source.uri, target.uri, ranges=ranges, workers=2).verdict
    assert verdict is not None and verdict.exact
    assert (verdict.line, verdict.target_keys) == ("OK:20011 V:0 >:0 <:1 T:0", 20_012)


def test_the_target_is_not_scanned_where_counting_has_settled_that_it_has_no_other_keys(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 100)
    with Monitor(target) as seen:
        assert compared(source, target).code == 0
    assert not [one for one in seen.commands if one.name == "SCAN" and one.args[3:] != (b"1",)]
    target.client.set("extra", "value")
    target.client.delete("key:5")
    with Monitor(target) as seen:
        assert verdict_of(compared(source, target)) == "OK:99 V:0 >:1 <:1 T:0"
    assert [one for one in seen.commands if one.name == "SCAN" and one.args[3:] != (b"1",)]


def test_a_key_that_has_expired_at_the_target_is_no_difference(server: ServerFactory) -> None:
    """It lies there uncollected, and counts in DBSIZE."""
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        one.client.set("key", "value")
    target.client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    target.client.set("passed", "value", px=1)
    ran = compared(source, target)
    assert (ran.code, verdict_of(ran)) == (0, "OK:1 V:0 >:0 <:0 T:0")
    target.client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")


@pytest.mark.parametrize("ahead_s", [5, -5])
@pytest.mark.parametrize(("kind", "elements"), [("8.2", 10), ("8.2", 3_000), ("9.1", 10), ("9.1", 3_000)])
def test_instants_inside_of_values_are_compared_as_they_are_stored_whatever_the_clocks_say(
    kind: str, elements: int, ahead_s: int, server: ServerFactory
) -> None:
    """DUMP takes them along as they are, so that values which are the same bytes have the same ones."""
    source, target = server(kind), server(kind)
    names = [f"field:{number}" for number in range(elements)]
    in_an_hour_ms = int(time.time() * 1000) + 3_600_000
    source.call("HSET", "hash", *[word for name in names for word in (name, "x" * 40)])
    source.call("HPEXPIREAT", "hash", in_an_hour_ms, "FIELDS", 2, *names[:2])
    noise = random.Random(1).randbytes(elements)
    with source.connect() as connection:
        connection.pipeline(
            [("XADD", "stream", f"{number + 1}-1", "f", noise[: elements // 2]) for number in range(elements)]
        )
    source.call("XGROUP", "CREATE", "stream", "group", 0)
    source.call("XREADGROUP", "GROUP", "group", "consumer", "COUNT", 3, "STREAMS", "stream", ">")
    with Proxy(target, ClockSkew(ahead_s)) as proxy:
        ran = run_keyferry(*at(source), "replicate", *at(proxy), env=VERIFIED)
        assert (ran.code, verdict_of(ran)) == (0, "OK:2 V:0 >:0 <:0 T:0"), ran.out
        target.call("HPEXPIREAT", "hash", in_an_hour_ms + ahead_s * 1000, "FIELDS", 1, names[0])
        target.call("XCLAIM", "stream", "group", "consumer", 0, "2-1", "TIME", in_an_hour_ms - 7_200_000)
        ran = compared(source, proxy, "--show-diffs", "2")
    assert (ran.code, verdict_of(ran)) == (1, "OK:0 V:2 >:0 <:0 T:0"), ran.out
    assert f'"hash" hash: expiry of field "{names[0]}"' in ran.out and 'group "group" pending 2-1' in ran.out


class EndsWhenLookedAt(Hooks):
    """The key ends on both sides, once it is known of what type it is and its elements are asked for."""

    def __init__(self, asked: bytes, *servers: Server) -> None:
        self.asked, self.servers = asked, servers
        self.ended = False

    def on_command(self, args: Args) -> Args:
        if not self.ended and b" ".join(args[:3]) == self.asked:
            self.ended = True
            for one in self.servers:
                one.call("PEXPIRE", "stream", 1)
                wait_until(lambda one=one: not one.call("EXISTS", "stream"))
        return args


@pytest.mark.parametrize("asked", [b"XINFO STREAM stream", b"XINFO GROUPS stream", b"XPENDING stream group"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_stream_that_expires_while_it_is_looked_at_is_expired_and_not_unreadable(
    side: str, asked: bytes, server: ServerFactory
) -> None:
    """The commands on streams say by an error that there is none."""
    source, target = server("7.0"), server("7.0")
    source.call("XGROUP", "CREATE", "stream", "group", "0", "MKSTREAM")
    for number in range(1, 200):
        source.call("XADD", "stream", f"{number}-1", "field", random.randbytes(1000))
    source.call("XREADGROUP", "GROUP", "group", "consumer", "COUNT", 5, "STREAMS", "stream", ">")
    copied(source, target)
    target.call("XCLAIM", "stream", "group", "consumer", 0, "1-1", "RETRYCOUNT", 7)
    with Proxy(source if side == "source" else target, EndsWhenLookedAt(asked, source, target)) as proxy:
        ends = (proxy, target) if side == "source" else (source, proxy)
        ran = run_keyferry(*at(ends[0]), "compare", *at(ends[1]), "--json", "--rounds", "1")
    verify = result_of(ran)["verify"]
    assert (ran.code, verify["unreadable"], verify["expired"]) == (0, 0, 1), ran.err


def test_the_outcomes_add_up_to_the_keys_that_were_read(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 200)
        one.client.rpush("list", "one")
    target.client.set("key:1", "other")
    target.client.delete("key:2")
    target.client.expire("key:3", 1000)
    target.client.set("list", "a string")
    summary = keyferry.compare(source.uri, target.uri, exclude=[b"key:1?"])
    verdict: Any = summary.fields()["verify"]
    parts = ("ok", "value", "type", "only_at_source", "expiry", "changing", "expired", "unreadable", "skipped")
    assert verdict["read"] == 201 == sum(verdict[part] for part in parts)
    assert [verdict[part] for part in parts] == [187, 1, 1, 1, 1, 0, 0, 0, 10]
    assert verdict["verdict"] == "OK:187 V:2 >:1 <:0 T:1"
    assert summary.exit_code == 1


def test_keys_that_the_target_had_before_the_copy_do_not_fail_it(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    target.client.set("theirs", "value")
    ran = run_keyferry(*at(source), "replicate", *at(target), env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:100 V:0 >:0 <:1 T:0")
    assert compared(source, target).code == 1


def test_databases_are_compared_as_they_are_mapped(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 50, db=0)
    write_strings(source, 70, db=3)
    ran = run_keyferry(*at(source), "replicate", *at(target), "--db-map", "0:2,3:1", env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:120 V:0 >:0 <:0 T:0")
    assert verdict_of(compared(source, target, "--db-map", "0:2,3:1")) == "OK:120 V:0 >:0 <:0 T:0"
    assert verdict_of(compared(source, target, "-n", "2")) == "OK:50 V:0 >:0 <:0 T:0"
    assert verdict_of(compared(source, target, "--dbs", "0,3")) == "OK:0 V:0 >:120 <:0 T:0"


def test_databases_that_only_the_target_has_are_compared_too(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 50, db=0)
    write_strings(target, 10, db=5)
    assert (compared(source, target).code, compared(source, target, "--dbs", "all").code) == (0, 1)
    assert verdict_of(compared(source, target, "--dbs", "all")) == "OK:50 V:0 >:0 <:10 T:0"


def test_two_databases_in_one_are_looked_up_in_both(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 50, db=0, prefix="a:")
    write_strings(source, 70, db=3, prefix="b:")
    words = ("--db-map", "0:2,3:2", "--merge-dbs")
    ran = run_keyferry(*at(source), "replicate", *at(target), *words, env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:120 V:0 >:0 <:0 T:0")
    with target.connect(2) as connection:
        connection.call("SET", "c:1", "extra")
    assert verdict_of(compared(source, target, *words)) == "OK:120 V:0 >:0 <:1 T:0"


class WrittenTo(Hooks):
    """A key of the server gets another value, and back, when the first values are read: no key comes or goes."""

    def __init__(self, server: Server) -> None:
        self.server, self.written = server, False

    def on_command(self, args: Args) -> Answer:
        if args[0] in (b"MGET", b"GET", b"DUMP") and b"key:0" in args and not self.written:
            self.written = True
            for value in ("other", self.server.call("GET", "key:0")):
                self.server.call("SET", "key:0", value)
        return args


def test_counting_stands_for_a_look_at_the_target_s_keys_only_where_nothing_is_written(server: ServerFactory) -> None:
    """Of a source that is written to, one key may be read twice and another not at all: the sum proves nothing."""
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 300, prefix="key:")
    still = compared(source, target, "--json")
    with Proxy(source, WrittenTo(source)) as proxy:
        written = compared(proxy, target, "--json")
    for ran, looked_up in ((still, 0), (written, 300)):
        told = result_of(ran)["verify"]
        assert (ran.code, told["ok"], told["target_keys_looked_up"]) == (0, 300, looked_up), ran.err


def test_a_replica_can_be_compared_with_its_master(server: ServerFactory) -> None:
    source, replica = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 100)
    replica.client.replicaof("127.0.0.1", source.port)
    for _ in range(1200):
        if replica.info("replication")["master_link_status"] == "up" and replica.client.dbsize() == 100:
            break
        time.sleep(0.05)
    assert verdict_of(compared(source, replica)) == "OK:100 V:0 >:0 <:0 T:0"


def test_a_replica_that_may_be_behind_and_clocks_that_are_apart_are_told(server: ServerFactory) -> None:
    master, replica, target = server("7.0", fresh=True), server("7.0", fresh=True), server("7.0")
    write_strings(master, 10)
    follow(replica, master)
    write_strings(target, 10)
    master.stop()
    wait_until(lambda: link_of(replica) == "down")
    with Proxy(target, ClockSkew(5)) as proxy:
        ran = compared(replica, proxy)
    assert (ran.code, verdict_of(ran)) == (0, "OK:10 V:0 >:0 <:0 T:0"), ran.err
    assert f"warning: {replica.address} is a replica that has lost its master: what it holds may be old" in ran.err
    assert "warning: target's clock is 5.0 s ahead of the source's: key expiries follow it" in ran.err
    assert ran.err.count("warning: ") == 2


def test_the_borders_of_a_verification_are_others_than_those_of_the_copy() -> None:
    """Rule 7: a range that is lost once must not be lost twice."""
    for count in (1, 2, 3, 8, 64, 500):
        cuts = [(start, end, 0) for start, end in tile(count)]
        assert_moved(cuts, shifted(cuts))
        assert all(start % (1 << 32) == 0 for start, *_ in shifted(cuts))


def test_the_borders_between_slots_are_others_too() -> None:
    for counts in (dict.fromkeys(range(16384), 3), dict.fromkeys(range(7), 50000), {5: 10, 900: 30_000, 901: 4}):
        cuts = cut_slots(counts, 8)
        moved = shifted(cuts, by_slot=True)
        assert_moved(cuts, moved)
        assert sum(keys for *_, keys in moved) == pytest.approx(sum(counts.values()), rel=0.01)


def assert_moved(cuts: list[Cut], moved: list[Cut]) -> None:
    """They cover the same without gaps, and have no border in common but the ends."""
    assert (moved[0][0], moved[-1][1]) == (cuts[0][0], cuts[-1][1])
    assert [end for _, end, _ in moved[:-1]] == [start for start, *_ in moved[1:]]
    whole = {cuts[0][0], cuts[-1][1]}
    assert not {start for start, *_ in moved} & {start for start, *_ in cuts} - whole
