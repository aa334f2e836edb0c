"""Sources read from replicas: who is read, who is left alone, what is refused, what makes it begin again."""

from __future__ import annotations

import json
import re

import pytest

import keyferry
from keyferry.workers.errors import UsageError
from tests.conftest import ClusterFactory, ServerFactory
from tests.support.commands import at
from tests.support.compare import assert_equal, differences
from tests.support.dataset import fill
from tests.support.filling import write_many, write_strings
from tests.support.live import wait_until
from tests.support.processes import VERIFIED, Result, run_keyferry, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.replication import MASTER, follow, forget_reads, link_of, reads_of, wait_until_in_step
from tests.support.sentinels import Sentinels
from tests.support.servers import free_port
from tests.support.summary import result_of

REPLICA = ("--read-from", "replica")


def read_replica(source: str, target: str, *words: str, command: str = "replicate") -> Result:
    """A copy, or a comparison, of which the source is read from replicas."""
    return run_keyferry("-u", source, *REPLICA, command, "-u", target, *words, env=VERIFIED)


@pytest.mark.covers("read-from")
@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_a_replica_of_the_master_that_was_named_is_read_and_compared(kind: str, server: ServerFactory) -> None:
    master, replica, target = server(kind, *MASTER), server(kind, fresh=True), server(kind)
    fill(master, 300)
    write_strings(master, 30_000)
    follow(replica, master)
    forget_reads(master, replica)
    ran = read_replica(master.uri, target.uri, "--json")
    assert ran.code == 0, ran.err
    told = result_of(ran)
    assert told["verify"]["ok"] == told["keys"] == master.call("DBSIZE"), ran.err
    assert told["replicas"] == [
        {"address": replica.address, "master": master.address, "lag_bytes_most": 0, "lag_bytes_end": 0}
    ]
    assert reads_of(master) == set() and {"scan", "dump"} <= reads_of(replica)
    assert f"{replica.address} (replica of {master.address})" in ran.err
    assert_equal(master, target)
    forget_reads(master)
    compared = read_replica(master.uri, target.uri, command="compare")
    assert (
        compared.code == 0
        and f"replica   {replica.address}, at most 0 B behind its master, 0 B at the end" in compared.out
    )
    assert reads_of(master) == set()


def test_the_replica_that_is_the_least_behind_is_chosen_and_the_plan_says_so(server: ServerFactory) -> None:
    master, slow, quick, target = server("7.0", *MASTER), *(server("7.0", fresh=True) for _ in range(2)), server("7.0")
    with FaultProxy(master.port, watch=False) as proxy:
        assert slow.call("REPLICAOF", "127.0.0.1", proxy.port) == b"OK"
        wait_until(lambda: link_of(slow) == "up")
        follow(quick, master)
        proxy.set("stall replies after 0 bytes")
        write_strings(master, 50)
        wait_until_in_step(master, quick)
        words = ("-u", master.uri, *REPLICA, "replicate", "-u", target.uri, "--dry-run")
        ran = run_keyferry(*words)
        assert ran.code == 0, ran.err
        assert f"source    {quick.address}  Redis 7.0.15  standalone slave, 0 bytes behind {master.address}" in ran.out
        node = json.loads(run_keyferry(*words, "--json").out)["nodes"][0]
        assert (node["address"], node["master"], node["lag_bytes"]) == (quick.address, master.address, 0)
        assert quick.call("REPLICAOF", "NO", "ONE") == b"OK"
        behind = run_keyferry(*words)
        assert re.search(rf"{slow.address} .* slave, [1-9][0-9,]* bytes behind {master.address}", behind.out)


def test_a_replica_that_was_named_is_read_itself(server: ServerFactory) -> None:
    master, other, replica, target = server("8.2"), *(server("8.2", fresh=True) for _ in range(2)), server("8.2")
    write_strings(master, 500)
    follow(other, master)
    follow(replica, master)
    for words in (REPLICA, ()):
        forget_reads(master, other, replica)
        ran = run_keyferry("-u", replica.uri, *words, "replicate", "-u", target.uri, "--json")
        assert ran.code == 0, ran.err
        assert reads_of(master) == reads_of(other) == set() and "scan" in reads_of(replica)
        assert result_of(ran)["replicas"][0]["address"] == replica.address


def test_a_master_is_not_written_to_from_its_own_replica(server: ServerFactory) -> None:
    master, replica = server("7.0", fresh=True), server("7.0", fresh=True)
    write_strings(master, 100)
    follow(replica, master)
    replica.call("CONFIG", "SET", "masterauth", "wrong")
    master.call("CONFIG", "SET", "requirepass", "right")  # its connections stay as they are
    with master.connect() as connection:
        connection.call("AUTH", "right")
        connection.call("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: link_of(replica) == "down")
        connection.call("SET", "key:1", "newer")
        connection.call("DEL", "key:2")
        there = f"redis://:right@{master.address}"
        for words in (("replicate",), ("replicate", "--dry-run"), ("compare", "--repair")):
            ran = run_keyferry(*at(replica), *words, there, env=VERIFIED)
            assert ran.code == 6 and "hold the same data" in ran.err, ran.out + ran.err
        assert connection.call("GET", "key:1") == b"newer" and not connection.call("EXISTS", "key:2")
        # To compare them is what a comparison is for, and another database is another one.
        assert run_keyferry(*at(replica), "compare", there).code == 1
        assert run_keyferry(*at(replica), "replicate", f"{there}/1").code == 0
        assert connection.call("GET", "key:1") == b"newer"


def test_a_replica_is_reached_where_a_map_says(server: ServerFactory) -> None:
    master, target = server("7.0"), server("7.0")
    replica = server("7.0", "--replica-announce-ip", "10.9.9.9", "--replica-announce-port", "7777")
    write_strings(master, 50)
    follow(replica, master)
    lost = read_replica(master.uri, target.uri, "-o", "1")
    assert lost.code == 7 and "no replica to read from: 10.9.9.9:7777 not reached" in lost.err
    words = (*REPLICA, "--remap", f"10.9.9.9:7777={replica.address}", "replicate", "-u", target.uri)
    ran = run_keyferry("-u", master.uri, *words)
    assert ran.code == 0 and target.call("DBSIZE") == 50, ran.err


def test_a_master_without_a_replica_to_read_from_is_refused(cluster: ClusterFactory, server: ServerFactory) -> None:
    alone, target = server("7.0"), server("7.0")
    write_strings(alone, 10)
    for command in ("replicate", "compare"):
        ran = read_replica(alone.uri, target.uri, command=command)
        assert ran.code == 7, ran.err
        assert f"source {alone.address}: no replica to read from: it has none online" in ran.err
        assert "hint: " in ran.err and "--read-from master" in ran.err
    source = cluster("7.0", 2, 0)
    ran = read_replica(source.uri, target.uri)
    assert ran.code == 7 and "no replica to read from" in ran.err and source.masters[0].address in ran.err
    assert target.call("DBSIZE") == 0


def test_a_replica_that_has_lost_its_master_is_not_chosen_and_waited_for(server: ServerFactory) -> None:
    master, replica, target = server("7.0", *MASTER), server("7.0", fresh=True), server("7.0")
    write_strings(master, 50)
    follow(replica, master)
    assert replica.call("CONFIG", "SET", "masterauth", "wrong") == b"OK"
    assert master.call("CONFIG", "SET", "requirepass", "right") == b"OK"
    assert master.call("AUTH", "right") == b"OK"
    replica.call("CLIENT", "KILL", "TYPE", "master")
    wait_until(lambda: link_of(replica) == "down")
    source = f"redis://:right@{master.address}"
    assert replica.call("CONFIG", "SET", "requirepass", "right") == b"OK"
    assert replica.call("AUTH", "right") == b"OK"
    ran = read_replica(source, target.uri)
    assert ran.code == 7 and "no replica to read from" in ran.err, ran.err
    with start_keyferry("-u", source, *REPLICA, "replicate", "-u", target.uri, "--wait-for", "30s") as run:
        run.wait_for_text("waiting: ")
        assert replica.call("CONFIG", "SET", "masterauth", "right") == b"OK"
        assert run.wait().code == 0
    assert target.call("DBSIZE") == 50


def test_another_server_at_the_address_of_the_master_is_refused(server: ServerFactory) -> None:
    """As where a replica tells an address that means another server from where we are."""
    master, stranger, target = server("7.0", *MASTER), server("7.0"), server("7.0")
    replica = server("7.0", fresh=True)
    follow(replica, master)
    remap = ("--remap", f"{master.address}={stranger.address}")
    for command in ("replicate", "compare"):
        ran = run_keyferry("-u", replica.uri, *remap, command, "-u", target.uri)
        assert ran.code == 7, ran.err
        assert f"source {replica.address}: what answers at {stranger.address} is not its master" in ran.err
        assert "hint: --remap " in ran.err


def test_a_replica_without_its_master_is_read_where_it_was_named_with_a_warning(server: ServerFactory) -> None:
    replica, target = server("7.0", fresh=True), server("7.0")
    write_strings(replica, 50)
    assert replica.call("REPLICAOF", "127.0.0.1", free_port()) == b"OK"
    ran = read_replica(replica.uri, target.uri)
    assert ran.code == 0 and "is a replica that has lost its master" in ran.err, ran.err
    assert "how far behind its master is not known" in ran.out
    assert_equal(replica, target)


@pytest.mark.parametrize("extra", [0, 1])
def test_what_a_replica_does_not_have_yet_is_not_removed_at_the_target(extra: int, server: ServerFactory) -> None:
    """To one that is behind, a key that was written to both sides is one that only the target has."""
    master, replica, target = server("7.0", *MASTER), server("7.0", fresh=True), server("7.0")
    with FaultProxy(master.port, watch=False) as proxy:
        write_strings(master, 50)
        assert replica.call("REPLICAOF", "127.0.0.1", proxy.port) == b"OK"
        wait_until(lambda: link_of(replica) == "up")
        wait_until_in_step(master, replica)
        proxy.set("stall replies after 0 bytes")
        write_strings(master, 51)
        write_strings(target, 51)
        write_strings(target, extra, prefix="extra:")
        words = ("-u", master.uri, *REPLICA, "compare", "-u", target.uri, "--repair", "--prune")
        with start_keyferry(*words) as run:
            wait_until(lambda: "what their masters have now" in run.err or not run.running)
            assert target.call("DBSIZE") == 51 + extra
            proxy.set("")
            proxy.release()
            ran = run.wait()
    assert ran.code == 0 and ("1 removed" in ran.out) == bool(extra), ran.out
    assert_equal(master, target)


@pytest.mark.covers("read-from")
def test_the_target_and_single_servers_have_no_such_option(server: ServerFactory) -> None:
    one = server("7.0")
    for words in (["replicate", one.uri, one.uri, *REPLICA], ["ping", *REPLICA, one.uri], [*REPLICA, "generate"]):
        ran = run_keyferry(*words)
        assert ran.code == 2 and "--read-from is about the source" in ran.err, words
    assert run_keyferry("-u", one.uri, "--read-from", "slave", "replicate", one.uri).code == 2
    told = run_keyferry("replicate", one.uri, one.uri, env={"KEYFERRY_TARGET_READ_FROM": "replica"})
    assert "'KEYFERRY_TARGET_READ_FROM' is unknown" in told.err
    told = run_keyferry("replicate", one.uri, "127.0.0.1:1", env={"KEYFERRY_SOURCE_READ_FROM": "replica"})
    assert told.code == 7 and "no replica to read from" in told.err
    with pytest.raises(UsageError, match="read_from is about the source"):
        keyferry.replicate(one.uri, keyferry.Endpoint(port=one.port, read_from="replica"))
    with pytest.raises(keyferry.StateError, match="no replica"):
        keyferry.replicate(keyferry.Endpoint(port=one.port, read_from="replica"), "127.0.0.1:1")


def test_behind_sentinels_a_replica_of_the_service_is_read(server: ServerFactory) -> None:
    target = server("7.0")
    with Sentinels("7.0", password="data@pw", sentinel_password="s@pw") as group:
        write_strings(group.master, 500)
        [replica] = group.replicas
        wait_until_in_step(group.master, replica)
        forget_reads(group.master, replica)
        places = ",".join(one.address for one in group.sentinels)
        ran = read_replica(f"redis+sentinel://:data%40pw@{places}/main?sentinel_pass=s%40pw", target.uri)
        assert ran.code == 0, ran.err
        assert reads_of(group.master) == set() and "scan" in reads_of(replica)
        assert_equal(group.master, target)


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_of_each_master_of_a_cluster_one_replica_is_read(
    kind: str, cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = cluster(kind, 2, 1), server(kind)
    fill(source, 500, tagged=0.3)
    write_many(source, 46_000)
    replicas = [source.replicas_of(master)[0] for master in source.masters]
    for master, replica in zip(source.masters, replicas, strict=True):
        wait_until_in_step(master, replica)
    forget_reads(*source.nodes)
    ran = read_replica(source.masters[0].uri, target.uri, "--json", "--workers", "2")
    assert ran.code == 0, ran.err
    told = result_of(ran)
    assert told["verify"]["ok"] == told["keys"] == source.dbsize() and told["exact"], ran.err
    assert {one["address"] for one in told["replicas"]} == {replica.address for replica in replicas}
    assert all(reads_of(master) == set() for master in source.masters)
    assert all({"scan", "dump"} <= reads_of(replica) for replica in replicas)
    assert "(cluster of 2 masters, by replicas)" in ran.err
    # 7.0 does not tell its replicas how much the groups of a stream have read.
    assert [line for line in differences(source, target) if "entries-read" not in line] == []
