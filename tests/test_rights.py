"""Rights: a user with those that are documented succeeds; one that is missing is named before anything is copied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import keyferry
from keyferry import given, permissions
from keyferry.partitioners import rights
from keyferry.partitioners.rights import SOURCE, TARGET, Right, Uses
from keyferry.partitioners.server import Server as Described
from keyferry.partitioners.topology import describe
from tests.conftest import ClusterFactory, ServerFactory
from tests.support.binaries import KINDS
from tests.support.commands import at
from tests.support.compare import assert_equal
from tests.support.control import control_of
from tests.support.dataset import fill
from tests.support.filling import write_strings
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry
from tests.support.readme import README, acl_lines, rows, section
from tests.support.servers import Server

SIDES = (SOURCE, TARGET)
#: With these options a copy uses every row of the table that its versions know; by the other options it has.
EVERYTHING: dict[str, Any] = {
    "atomic": True, "type": "string,hash", "max_size": "1mb", "min_ttl": "0s", "on_conflict": "skip", "dbs": "0,1",
}  # fmt: skip


class Pair:
    """Two servers of a kind with a user each, whom tests give and take rights."""

    def __init__(self, kind: str) -> None:
        self.servers = {side: Server(kind) for side in SIDES}
        write_strings(self.servers[SOURCE], 20)

    def at(self, side: str) -> keyferry.Endpoint:
        return keyferry.Endpoint(port=self.servers[side].port, user="app", password="pw")

    def described(self, side: str) -> Described:
        with control_of(self.servers[side], side) as control:
            return describe(control)

    def rights(self, side: str, keywords: dict[str, Any]) -> list[Right]:
        chosen = given.from_keywords("replicate", **keywords)
        uses = permissions.uses_of(chosen, [self.described(SOURCE)], [self.described(TARGET)])
        return rights.rights_of(uses, side, self.described(side))

    def grant(self, side: str, rules: str, keys: str = "~*") -> None:
        reply = self.servers[side].call("ACL", "SETUSER", "app", "reset", "on", ">pw", *keys.split(), *rules.split())
        assert reply == b"OK", reply

    def refusal(self, **keywords: Any) -> keyferry.AccessError:
        with pytest.raises(keyferry.AccessError) as caught:
            keyferry.replicate(self.at(SOURCE), self.at(TARGET), **keywords)
        assert self.servers[TARGET].call("DBSIZE") == 0
        return caught.value


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[str, Pair]]:
    """Pairs by kind, made when they are wanted."""
    made: dict[str, Pair] = {}
    yield made
    for pair in made.values():
        for one in pair.servers.values():
            one.stop()


def pair_of(pairs: dict[str, Pair], kind: str) -> Pair:
    if kind not in pairs:
        pairs[kind] = Pair(kind)
    pairs[kind].servers[TARGET].call("FLUSHALL")
    return pairs[kind]


def needed(pair: Pair, side: str, keywords: dict[str, Any]) -> list[Right]:
    return [right for right in pair.rights(side, keywords) if not right.without]


# ---- each right of the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keywords", [{}, {"no_verify": True}, EVERYTHING], ids=["usual", "unverified", "everything"])
def test_with_exactly_the_rights_that_are_needed_a_copy_is_complete(
    kind: str, keywords: dict[str, Any], pairs: dict[str, Pair]
) -> None:
    pair = pair_of(pairs, kind)
    for side in SIDES:
        pair.grant(side, rights.acl_rules(needed(pair, side, keywords)))
    summary = keyferry.replicate(pair.at(SOURCE), pair.at(TARGET), **keywords)
    assert (summary.exit_code, summary.counts.copied, summary.counts.aside) == (0, 20, 0)
    assert_equal(pair.servers[SOURCE], pair.servers[TARGET])


@pytest.mark.parametrize("side", SIDES)
def test_nodes_of_clusters_need_what_the_table_says_of_them(
    side: str, cluster: ClusterFactory, server: ServerFactory
) -> None:
    """Every node is asked: a right that a single one refuses is named."""
    nodes, other = cluster("7.0", 3, 0, fresh=True), server("7.0")
    source, target = (nodes, other) if side == SOURCE else (other, nodes)
    fill(source, 100)
    user = keyferry.Endpoint(port=nodes.masters[0].port, user="app", password="pw")
    plain = keyferry.Endpoint(port=other.port)
    ends = (user, plain) if side == SOURCE else (plain, user)
    uses = Uses(given.from_keywords("replicate"))
    wanted = [right for right in rights.RIGHTS if right.side == side and right.when(uses)]
    needed = [right for right in wanted if not right.without and right.since <= (7, 0)]
    full = rights.acl_rules(needed).split()
    for right in (right for right in needed if right.clustered):
        nodes.call_all("ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", *full)
        nodes.masters[1].call("ACL", "SETUSER", "app", "-" + right.rule.removeprefix("+"))
        with pytest.raises(keyferry.AccessError, match=f"user app may not run {right.command}$") as caught:
            keyferry.replicate(*ends)
        assert (caught.value.side, caught.value.address) == (side, nodes.masters[1].address)
    nodes.call_all("ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", *full)
    assert keyferry.replicate(*ends).exit_code == 0
    assert_equal(source, target)


def chosen_for(right: Right) -> dict[str, Any]:
    """Options with which a copy needs that right, where its servers know it."""
    return {"repair": True, "prune": True} if right.command == "UNLINK" else EVERYTHING


def is_needed(kind: str, right: Right) -> bool:
    """Whether a copy between servers of that kind cannot do without."""
    absolute = frozenset(SIDES) if kind != "6.2" else frozenset()
    uses = Uses(given.from_keywords("replicate", **chosen_for(right)), absolute, selects=True)
    known = kind == "9.1" or right.since <= tuple(map(int, kind.split(".")))
    return known and right.when(uses) and not (right.without or right.clustered)


ROWS = [
    pytest.param(kind, right, id=f"{kind}-{right.side}-{right.command}")
    for kind in KINDS
    for right in dict.fromkeys(rights.RIGHTS)
    if is_needed(kind, right)
]


@pytest.mark.parametrize(("kind", "right"), ROWS)
def test_each_right_that_is_taken_away_is_named_before_anything_is_copied(
    kind: str, right: Right, pairs: dict[str, Pair]
) -> None:
    pair = pair_of(pairs, kind)
    keywords = chosen_for(right)
    rows = {side: needed(pair, side, keywords) for side in SIDES}
    for side in SIDES:
        pair.grant(side, rights.acl_rules(one for one in rows[side] if side != right.side or one.rule != right.rule))
    error = pair.refusal(**keywords)
    assert (error.side, error.exit_code) == (right.side, 3 if right.side == SOURCE else 4)
    assert error.message == f"permission refused: user app may not run {right.command}"
    assert error.hint in (f"ACL SETUSER app {right.rule}", f"ACL SETUSER app {right.rule}, or --no-verify")


@pytest.mark.parametrize("side", SIDES)
def test_several_that_are_missing_are_named_in_one_line(side: str, pairs: dict[str, Pair]) -> None:
    pair = pair_of(pairs, "7.0")
    for one in SIDES:
        pair.grant(one, "+@all" if one != side else "+@all -mget -set -mset -scan -time -dbsize")
    lost = "DBSIZE, TIME, SCAN, MGET" if side == SOURCE else "DBSIZE, TIME, MSET, SET"
    assert pair.refusal(no_verify=True).message == f"permission refused: user app may not run {lost}"


def test_what_only_verification_needs_can_be_done_without(pairs: dict[str, Pair]) -> None:
    pair = pair_of(pairs, "8.2")
    pair.grant(SOURCE, "+@all")
    pair.grant(TARGET, "+@all -scan -get")
    with pytest.raises(keyferry.AccessError) as caught:
        keyferry.replicate(pair.at(SOURCE), pair.at(TARGET))
    assert caught.value.message == "permission refused: user app may not run SCAN, GET"
    assert caught.value.hint == "ACL SETUSER app +scan +get, or --no-verify"
    assert keyferry.replicate(pair.at(SOURCE), pair.at(TARGET), no_verify=True).exit_code == 0


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_user_of_some_keys_is_told_where_none_of_them_is_to_be_copied(
    kind: str, side: str, pairs: dict[str, Pair]
) -> None:
    pair = pair_of(pairs, kind)
    for one in SIDES:
        pair.grant(one, "+@all", "~app:*" if one == side else "~*")
    error = pair.refusal()
    assert (error.side, error.message) == (side, "permission refused: user app may not touch the keys, by their names")
    assert "~*" in error.hint and "--match" in error.hint


def test_a_user_of_some_keys_is_warned_of_the_others_and_copies_its_own(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("9.1", fresh=True)
    target.call("ACL", "SETUSER", "app", "on", ">pw", "~app:*", "+@all")
    write_strings(source, 30, prefix="app:")
    write_strings(source, 3, prefix="secret:")
    words = [*at(source), "replicate", *at(target), "--user", "app", "-a", "pw", "--no-verify"]
    ran = run_keyferry(*words, cwd=str(tmp_path))
    assert ran.code == 1
    told = "warning: target's user app may not touch all keys (3 of the first 33 are refused)"
    assert ran.err.index(told) < ran.err.index("copy begins")
    ran = run_keyferry(*words, "--match", "app:*")
    assert ran.code == 0 and "may not touch" not in ran.err


def test_commands_that_a_server_does_not_have_are_named_as_such(server: ServerFactory) -> None:
    source, target = server("7.0", "--rename-command", "DUMP", ""), server("7.0")
    ran = run_keyferry(*at(source), "replicate", *at(target))
    assert ran.code == 3
    assert f"error: source {source.address}: the server has no DUMP\n" in ran.err


def test_a_dry_run_tries_no_write_and_still_knows_whether_it_may(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 5)
    words = [*at(source), "replicate", *at(target), "--user", "app", "-a", "pw", "--dry-run"]
    target.call("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-restore")
    with Monitor(target) as seen:
        ran = run_keyferry(*words)
    assert ran.code == 4
    assert "user app may not run RESTORE" in ran.err
    assert not {"RESTORE", "SET", "MSET"} & seen.names()
    target.call("ACL", "SETUSER", "app", "-acl")
    ran = run_keyferry(*words)
    assert ran.code == 0
    assert (
        "\nnot checked: target: whether we may write (ACL DRYRUN is not answered, and a dry run does not try)"
        in ran.out
    )


# ---- what can be done without -----------------------------------------------------------------------------------


def test_what_can_be_done_without_is_a_line_of_the_plan_and_of_the_run(pairs: dict[str, Pair]) -> None:
    pair = pair_of(pairs, "9.1")
    for side in SIDES:
        pair.grant(side, "+@all -info -config|get -client")
    words = [f"redis://app:pw@{pair.servers[side].address}" for side in SIDES]
    plan, run = run_keyferry("replicate", *words, "--dry-run"), run_keyferry("replicate", *words)
    assert (plan.code, run.code) == (0, 0)
    for text in (plan.out, run.err):
        assert "not checked: source: whether the same process answers all the time" in text
        assert "not checked: source: that reading leaves its LRU and LFU as they are (CLIENT NO-TOUCH refused)" in text
        assert "not checked: target: that nothing of a lost connection is executed late" in text
    compared = run_keyferry("compare", *words)
    assert compared.code == 0, compared.out
    assert "not checked: source: whether the same process answers all the time" in compared.err
    assert "a lost connection" not in compared.err  # nothing is written
    assert "Valkey 9.1" in plan.out  # HELLO tells it, which nobody can be forbidden
    assert max(map(len, plan.out.splitlines())) <= 130


# ---- ping -------------------------------------------------------------------------------------------------------


def test_ping_names_what_is_missing_on_each_side(pairs: dict[str, Pair]) -> None:
    pair = pair_of(pairs, "8.2")
    pair.grant(SOURCE, "+@all -mget -get")
    pair.grant(TARGET, "+@all -restore", "~app:*")
    first, second = (f"redis://app:pw@{pair.servers[side].address}" for side in SIDES)
    ran = run_keyferry("ping", first, second, "--for", "replicate")
    assert ran.code == 3
    assert (
        "  as source: permission refused: user app may not run MGET, GET\n    ACL SETUSER app +mget +get\n" in ran.out
    )
    assert "  as target: permission refused: user app may not run RESTORE\n    ACL SETUSER app +restore\n" in ran.out
    pair.grant(SOURCE, "+@all")
    ran = run_keyferry("ping", first, second, "--for", "replicate", "--json")
    assert ran.code == 4
    source, target = (answer["roles"] for answer in json.loads(ran.out))
    assert source == [{"role": "source", "missing": [], "all_keys": True, "acl": "", "not_checked": []}]
    assert (target[0]["missing"], target[0]["all_keys"], target[0]["acl"]) == (["RESTORE"], False, "+restore ~*")


def test_ping_of_one_server_tells_for_both_sides_and_changes_nothing(pairs: dict[str, Pair]) -> None:
    pair = pair_of(pairs, "6.2")
    pair.grant(SOURCE, "+@all -restore")
    one = pair.servers[SOURCE]
    before = one.call("DEBUG", "DIGEST"), one.info("persistence")["rdb_changes_since_last_save"]
    ran = run_keyferry("ping", f"redis://app:pw@{one.address}", "--for", "replicate")
    assert ran.code == 0, ran.err
    assert "  as source: it may do all that replicate needs\n" in ran.out
    assert "  as target: permission refused: user app may not run RESTORE\n" in ran.out
    assert (one.call("DEBUG", "DIGEST"), one.info("persistence")["rdb_changes_since_last_save"]) == before


# ---- README -----------------------------------------------------------------------------------------------------


def usual(side: str, **keywords: Any) -> list[Right]:
    """The rows for a side whose version knows all of them."""
    chosen = given.from_keywords("replicate", **keywords)
    uses = rights.Uses(chosen, selects="dbs" in keywords, switches="enable_notifications" in keywords)
    return rights.rights_of(uses, side)


def test_the_lines_of_readme_are_those_of_the_table() -> None:
    said = acl_lines()
    wanted = [
        f"ACL SETUSER {side} on >PASSWORD ~* {rights.acl_rules(usual(side, no_verify=less))}"
        for less in (False, True)
        for side in SIDES
    ]
    assert said == wanted
    optional = [right for right in rights.RIGHTS if right.without and not right.clustered]
    sentence = section("Permissions")
    assert all(f"`{right.command}`" in sentence for right in optional)
    for right in (right for right in rights.RIGHTS if any(right.since) and right.since > (6, 2) and right.without):
        assert f"`{right.rule}`" in sentence


def test_the_further_rights_of_options_are_those_of_the_table() -> None:
    chosen = {
        "--dbs, -n, /db": {"dbs": "0,1"},
        "--max-size": {"max_size": "1mb"},
        "--live": {"live": True},
        "--enable-notifications, where they are off": {"live": True, "enable_notifications": True},
        "--prune": {"repair": True, "prune": True},
        "--atomic": {"atomic": True},
        "--on-conflict": {"on_conflict": "skip"},
    }
    table = {row[0].replace("`", ""): row[1:] for row in rows(section("Permissions"))}
    plain = rights.Uses(given.from_keywords("replicate"))
    clustered = [one for one in rights.RIGHTS if one.clustered and one.when(plain)]
    of_clusters = {side: [one for one in clustered if one.side == side] for side in SIDES}
    cells = zip(SIDES, table.pop("a cluster"), strict=True)
    assert all(cell.replace("`", "") == rights.acl_rules(of_clusters[side]) for side, cell in cells)
    of_replicas = [one for one in rights.RIGHTS if one.when(replace(plain, replicas=True)) and not one.when(plain)]
    assert table.pop("--read-from replica") == [f"`{rights.acl_rules(of_replicas)}`", ""]
    assert table.keys() == chosen.keys()
    for name, keywords in chosen.items():
        for side, cell in zip(SIDES, table[name], strict=True):
            besides = {"live": True} if "enable_notifications" in keywords else {}
            usual_rules = {right.rule for right in usual(side, **besides)}
            more = [right for right in usual(side, **keywords) if right.rule not in usual_rules]
            assert cell.replace("`", "") == rights.acl_rules(more), (name, side)


@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_users_made_by_the_lines_of_readme_copy_and_nothing_is_left_unchecked(kind: str, server: ServerFactory) -> None:
    both = dict(zip(SIDES, (server(kind, fresh=True), server(kind, fresh=True)), strict=True))
    fill(both[SOURCE], 2_000)
    for line in acl_lines()[:2]:
        words = line.replace(">PASSWORD", ">pw").split()
        assert both[words[2]].call(*words) == b"OK"
    uris = [f"redis://{side}:pw@{both[side].address}" for side in SIDES]
    ran = run_keyferry("replicate", *uris)
    assert ran.code == 0, ran.err
    assert "not checked" not in ran.err
    assert_equal(*both.values())


def test_readme_is_read() -> None:
    assert "### Permissions" in README
