"""`keyferry ping`: what each server is, how far away, and what is said of those that do not answer."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ClusterFactory, ServerFactory
from tests.support.disguises import InfoFields
from tests.support.filling import write_strings
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry
from tests.support.replication import follow
from tests.support.respproxy import Proxy
from tests.support.servers import Server, free_port

TIMES = re.compile(r"  round trip ms: p50 ([\d.]+) p95 ([\d.]+) p99 ([\d.]+) max ([\d.]+)")


def test_each_server_is_told_with_version_role_keys_and_round_trips(server: ServerFactory) -> None:
    one, other = server("7.0"), server("9.1")
    write_strings(one, 1_000)
    ran = run_keyferry("ping", one.uri, other.uri)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert re.fullmatch(rf"{one.address}  Redis 7\.0\.\d+  standalone master  1,000 keys", lines[0])
    assert re.fullmatch(rf"{other.address}  Valkey 9\.1\.\d+  standalone master  0 keys", lines[2])
    for line in lines[1::2]:
        match = TIMES.fullmatch(line)
        assert match and sorted(map(float, match.groups())) == list(map(float, match.groups()))


@pytest.mark.covers("count")
def test_the_count_is_of_round_trips_to_each_server(server: ServerFactory) -> None:
    one, other = server("7.0"), server("9.1")
    assert pings(one, other, 12) - pings(one, other, 5) == 2 * 7


def pings(one: Server, other: Server, count: int) -> int:
    with Monitor(one) as first, Monitor(other) as second:
        assert run_keyferry("ping", one.uri, other.uri, "--count", str(count)).code == 0
    return sum(command.name == "PING" for command in first.commands + second.commands)


def test_the_result_for_programs_is_a_list_of_servers(server: ServerFactory) -> None:
    one = server("7.0")
    (told,) = json.loads(run_keyferry("ping", one.uri, "--json").out)
    assert told["address"] == one.address and told["run_id"] == one.run_id
    assert (told["product"], told["mode"], told["role"], told["keys"]) == ("Redis", "standalone", "master", 0)
    assert told["round_trip_ms"].keys() == {"p50", "p95", "p99", "max"}


def test_a_server_that_loads_its_data_is_told(server: ServerFactory) -> None:
    one = server("7.0")
    with Proxy(one, InfoFields("loading", loading="1")) as proxy:
        ran = run_keyferry("ping", proxy.address)
        (told,) = json.loads(run_keyferry("ping", proxy.address, "--json").out)
    assert re.fullmatch(r"\S+  Redis 7\.0\.\d+  standalone master, loading  0 keys", ran.out.splitlines()[0])
    assert told["loading"] and not json.loads(run_keyferry("ping", one.uri, "--json").out)[0]["loading"]


def test_a_replica_may_be_a_source_and_is_no_target(server: ServerFactory) -> None:
    master, replica = server("7.0", fresh=True), server("7.0", fresh=True)
    follow(replica, master)
    ran = run_keyferry("ping", master.uri, replica.uri, "--for", "replicate")
    assert (ran.code, ran.err) == (7, "")
    assert "  as source: it may do all that replicate needs" in ran.out
    assert "  as target: read only: a replica\n    name its master" in ran.out
    alone = run_keyferry("ping", replica.uri, "--for", "replicate")
    assert alone.code == 0
    assert "  as source: it may do all that replicate needs" in alone.out
    assert "  as target: read only: a replica" in alone.out


def test_a_cluster_is_a_target_though_it_has_replicas(cluster: ClusterFactory, server: ServerFactory) -> None:
    ran = run_keyferry("ping", server("7.0").address, cluster("7.0", 3, 1).masters[0].address, "--for", "replicate")
    assert (ran.code, ran.out.count("  as target: it may do all that replicate needs")) == (0, 6), ran.out


def test_a_server_that_does_not_answer_hides_no_other(server: ServerFactory) -> None:
    one, nobody = server("7.0"), f"127.0.0.1:{free_port()}"
    ran = run_keyferry("ping", nobody, one.uri)
    assert ran.code == 3
    assert ran.out.startswith(f"{one.address}  Redis 7.0")
    first, hint = ran.err.splitlines()
    assert first == f"error: {nobody}: not reached: Connection refused"
    assert hint.startswith("hint: ")


def test_nothing_but_reads_is_sent(server: ServerFactory) -> None:
    one = server("7.0")
    with Monitor(one) as seen:
        run_keyferry("ping", one.uri)
    assert seen.names() <= {"PING", "CLIENT", "INFO", "CONFIG", "DBSIZE", "SELECT"}


def test_a_password_from_redis_cli_is_used(server: ServerFactory) -> None:
    one = server("7.0", password="secret")
    ran = run_keyferry("ping", "-p", str(one.port), env={"REDISCLI_AUTH": "secret"})
    assert ran.code == 0, ran.err
