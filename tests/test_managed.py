"""Managed services: commands renamed away, no @admin, and proxies that hide what a server is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.disguises import WithoutInfo
from tests.support.processes import run_keyferry
from tests.support.respproxy import Args, Proxy
from tests.support.wire import ServerError
from tests.test_options import at, keyspace, write_strings

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
