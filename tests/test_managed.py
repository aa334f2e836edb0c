"""Managed services: commands renamed away, no @admin, and proxies that hide what a server is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.disguises import InfoFields, WithoutInfo
from tests.support.filling import keyspace, write_strings
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.respproxy import Args, Hooks, Proxy
from tests.support.wire import ServerError

#: Sections of INFO that the proxy in front of the target does not show.
HIDDEN = ("server", "memory", "persistence", "stats", "replication", "cpu", "modules", "cluster", "keyspace")


def renamed_away(*names: str) -> list[str]:
    return [word for name in names for word in ("--rename-command", name, "")]


class ManagedProxy(WithoutInfo):
    """INFO has few sections, HELLO is refused."""

    def on_command(self, args: Args) -> Any:
        if args[0].upper() == b"HELLO":
            return b"-ERR unknown command 'HELLO'\r\n"
        return super().on_command(args)


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_a_managed_pair_is_copied_whole_and_the_plan_lists_what_could_not_be_checked(
    kind: str, server: ServerFactory
) -> None:
    # The comparison at the end needs DEBUG: it is forbidden to the user, not renamed.
    forbidden = "-client|no-evict" + (" -client|no-touch" if kind != "7.0" else "")
    rules = f"~* &* +@all -@admin -@dangerous +info {forbidden}"
    acl = ("user default on nopass ~* &* +@all", f"user app on >pw {rules}")
    source = server(kind, *renamed_away("CONFIG", "MONITOR"), acl=acl)
    target = server("9.1", fresh=True)
    fill(source, 21_000)
    with Proxy(target, ManagedProxy(*HIDDEN)) as proxy:
        words = [*at(source), "--user", "app", "-a", "pw", "replicate", *at(proxy)]
        plan = run_keyferry(*words, "--dry-run")
        ran = run_keyferry(*words)
    assert (plan.code, ran.code) == (0, 0), plan.err + ran.err
    unknown = [line for line in plan.out.splitlines() if line.startswith("not checked: ")]
    assert any("source: how many databases it has" in line and "CONFIG GET" in line for line in unknown)
    assert any("target: whether the same process answers" in line for line in unknown)
    assert_equal(source, target)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_hides_its_run_id_alone_is_copied_whole_and_the_plan_says_so(
    side: str, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("9.1", fresh=True)
    fill(source, 2_000)
    hidden = source if side == "source" else target
    with Proxy(hidden, InfoFields("run_id")) as proxy:
        ends = (proxy, target) if hidden is source else (source, proxy)
        words = [*at(ends[0]), "replicate", *at(ends[1])]
        plan, ran = run_keyferry(*words, "--dry-run"), run_keyferry(*words, env=VERIFIED)
    assert (plan.code, ran.code) == (0, 0), plan.err + ran.err
    unknown = f"not checked: {side}: whether the same process answers all the time (no run_id in INFO)"
    assert plan.out.splitlines().count(unknown) == 1 and unknown in ran.err
    assert_equal(source, target)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"dragonfly_version": "df-v1.40.1"}, "Dragonfly df-v1.40.1"),
        ({"kvrocks_version": "2.11.1"}, "Kvrocks 2.11.1"),
        ({"garnet_version": "1.0.65"}, "Garnet 1.0.65"),
        ({"mvcc_depth": "0"}, "KeyDB 7.0.15"),
    ],
)
def test_other_servers_are_called_by_their_names(fields: dict[str, str], name: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 50)
    with Proxy(source, InfoFields(**fields)) as proxy:
        ran = run_keyferry(*at(proxy), "replicate", *at(target))
        pinged = run_keyferry("ping", *at(proxy), "--json")
    assert ran.code == 0, ran.err
    assert f" db 0 · {name} · 50 keys" in ran.err
    (told,) = json.loads(pinged.out)
    assert f"{told['product']} {told['version']}" == name
    assert_equal(source, target)


def test_all_databases_are_found_by_asking_where_info_does_not_name_them(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for db in (0, 3, 15):
        write_strings(source, 20, db=db, prefix=f"of{db}:")
    with source.connect(3) as connection:
        connection.must("SET", "passing", "value", "PX", 10_000_000)
    source.call("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-info", "-config")
    login = ["--user", "app", "-a", "pw"]
    ran = run_keyferry(*at(source), *login, "replicate", *at(target), "--dbs", "all")
    source.call("ACL", "DELUSER", "app")
    assert ran.code == 0, ran.err
    assert keyspace(target) == keyspace(source)
    with target.connect(3) as connection:
        assert connection.call("PTTL", "passing") > 0
    assert not isinstance(target.call("PING"), ServerError)


class LeavesOut(Hooks):
    """A proxy that leaves the last value of an MGET out where a key among them is gone, or no string."""

    replies_of = frozenset([b"MGET"])

    def on_reply(self, args: Args, reply: Any) -> Any:
        return reply[:-1] if isinstance(reply, list) and None in reply[:-1] else reply


@pytest.mark.parametrize("side", ["source", "target"])
def test_keys_of_which_a_proxy_brings_no_value_are_read_one_by_one(side: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 50)
    with source.connect() as connection:
        connection.pipeline(("RPUSH", f"list:{n}", "value") for n in range(25))
    # With a filter nobody knows how many keys there should be.
    words = ("--match", "*:*", "--json")
    with Proxy(source if side == "source" else target, LeavesOut()) as proxy:
        ends = (proxy, target) if side == "source" else (source, proxy)
        ran = run_keyferry(*at(ends[0]), "replicate", *at(ends[1]), *words, env=VERIFIED)
    found = json.loads(ran.out)
    assert (ran.code, found["expired"], found["verify"]["ok"]) == (0, 0, 75), ran.err
    assert_equal(source, target)
