"""Rule 16 of the grammar: what the environment says, and what of it reaches which server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyferry import environment, options
from keyferry.grammar import parse
from keyferry.workers.errors import UsageError

TWO = {"KEYFERRY_SOURCE_HOSTNAME": "s", "KEYFERRY_TARGET_HOSTNAME": "t"}


def test_a_command_on_two_servers_reads_each_side_from_its_own_variables() -> None:
    found = parse(["replicate"], {"KEYFERRY_SOURCE_URI": "redis://s:1/2", **TWO, "KEYFERRY_SOURCE_HOSTNAME": ""})
    assert (found.source.host, found.source.port, found.source.db, found.target.host) == ("s", 1, 2, "t")


def test_a_command_on_two_servers_does_not_read_variables_without_a_side() -> None:
    found = parse(["replicate", "a", "b"], {"KEYFERRY_PASS": "x", "KEYFERRY_DB": "3", "KEYFERRY_TIMEOUT": "1"})
    assert (found.source.password, found.target.password, found.source.db, found.source.timeout_s) == ("", "", None, 60)
    with pytest.raises(UsageError, match="named"):
        parse(["replicate"], {"KEYFERRY_HOSTNAME": "h"})


def test_a_command_on_one_server_reads_variables_without_a_side_only() -> None:
    around = {"KEYFERRY_HOSTNAME": "h", "KEYFERRY_PORT": "1", "KEYFERRY_POOL": "3", **TWO, "KEYFERRY_SOURCE_DB": "9"}
    (server,) = parse(["ping"], around).servers
    assert (server.address, server.pool, server.db) == ("h:1", 3, None)


@pytest.mark.parametrize("row", [row for row in options.OPTIONS if row.environment], ids=lambda row: row.name)
def test_every_option_of_the_table_that_has_a_variable_is_read_from_it(row: options.Option) -> None:
    side = "source" if row.place == options.SIDE else ""
    name = environment.variable(row, side)
    assert name == "KEYFERRY_" + ("SOURCE_" if side else "") + row.name.upper().replace("-", "_")
    found = environment.given({name: "x"}, [row], side)
    assert (found[row.key].text, found[row.key].label) == ("x", name)
    assert environment.warnings({name: "x"}) == []


def test_flag_beats_environment_beats_default() -> None:
    around = {"KEYFERRY_WORKERS": "3", "KEYFERRY_BATCH": "7", "KEYFERRY_SOURCE_TIMEOUT": "5", "KEYFERRY_TARGET_DB": "4"}
    found = parse(["-o", "9", "replicate", "a", "b", "--workers", "2"], around)
    assert (found.options["workers"], found.options["batch"], found.options["scan_count"]) == (2, 7, 500)
    assert (found.source.timeout_s, found.target.timeout_s, found.target.db) == (9.0, 60.0, 4)
    assert {"workers", "batch"} <= found.explicit
    assert "scan_count" not in found.explicit


def test_a_variable_that_a_flag_overrides_need_not_make_sense() -> None:
    assert parse(["replicate", "a", "b", "--workers", "2"], {"KEYFERRY_WORKERS": "x"}).options["workers"] == 2


def test_a_flag_beats_the_environment_also_within_a_uri() -> None:
    around = {"KEYFERRY_URI": "redis://bob:old@h:1/2?timeout=5"}
    (server,) = parse(["ping", "-n", "3", "-a", "new", "-o", "7"], around).servers
    assert (server.host, server.db, server.user, server.password, server.timeout_s) == ("h", 3, "bob", "new", 7.0)


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "TRUE", "On"])
def test_flags_are_switched_on(text: str) -> None:
    assert parse(["replicate", "a", "b"], {"KEYFERRY_DRY_RUN": text}).options["dry_run"] is True


@pytest.mark.parametrize("text", ["0", "false", "no", "off", "No", ""])
def test_flags_are_switched_off_or_not_set(text: str) -> None:
    assert parse(["replicate", "a", "b"], {"KEYFERRY_DRY_RUN": text}).options["dry_run"] is False


def test_a_list_has_commas() -> None:
    assert parse(["replicate", "a", "b"], {"KEYFERRY_DBS": "0,3"}).options["dbs"] == [0, 3]


@pytest.mark.parametrize(
    ("around", "name"),
    [
        ({"KEYFERRY_DRY_RUN": "maybe"}, "KEYFERRY_DRY_RUN"),
        ({"KEYFERRY_WORKERS": "many"}, "KEYFERRY_WORKERS"),
        ({"KEYFERRY_WAIT_FOR": "60"}, "KEYFERRY_WAIT_FOR"),
        ({"KEYFERRY_SOURCE_DB": "x"}, "KEYFERRY_SOURCE_DB"),
        ({"KEYFERRY_SOURCE_DB": "1", "KEYFERRY_DBS": "all"}, "KEYFERRY_SOURCE_DB"),
        ({"KEYFERRY_SOURCE_DB": "1", "KEYFERRY_DBS": "all"}, "KEYFERRY_DBS names the databases"),
        ({"KEYFERRY_SOURCE_USER": "bob", "KEYFERRY_SOURCE_HOSTNAME": ""}, "KEYFERRY_SOURCE_USER"),
        ({"KEYFERRY_QUIET": "1", "KEYFERRY_DEBUG": "1"}, "KEYFERRY_QUIET and KEYFERRY_DEBUG"),
    ],
)
def test_an_error_names_the_variable(around: dict[str, str], name: str) -> None:
    with pytest.raises(UsageError) as caught:
        words = ["replicate", "-p", "1"] if "KEYFERRY_SOURCE_USER" in around else ["-p", "1", "replicate", "b"]
        parse(words, around)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "around",
    [
        {"KEYFERRY_URI": "redis://h", "KEYFERRY_HOSTNAME": "h"},
        {"KEYFERRY_URI": "redis://h/1", "KEYFERRY_DB": "2"},
        {"KEYFERRY_PASS": "x", "KEYFERRY_PASS_FILE": "/dev/null"},
    ],
)
def test_the_environment_must_make_sense_by_itself(around: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(["ping"], around)
    assert all(name in str(caught.value) for name in around)


def test_one_of_quiet_info_and_debug_as_a_flag_takes_the_place_of_the_others() -> None:
    found = parse(["ping", "-d"], {"KEYFERRY_QUIET": "1"})
    assert (found.options["debug"], found.options["quiet"]) == (True, False)


@pytest.mark.parametrize("address", [["-h", "other"], ["-p", "7"], ["-s", "/r"], ["-u", "redis://other"], ["other"]])
def test_an_address_in_flags_replaces_the_whole_address_and_the_login_is_not_sent(address: list[str]) -> None:
    around = {"KEYFERRY_HOSTNAME": "h", "KEYFERRY_PORT": "1", "KEYFERRY_USER": "bob", "KEYFERRY_PASS": "pw"}
    found = parse(["ping", *address], around)
    (server,) = found.servers
    assert (server.user, server.password) == ("", "")
    assert server.port != 1
    assert server.host != "h"
    assert "KEYFERRY_USER and KEYFERRY_PASS not sent" in found.warnings[0]


def test_the_login_in_the_uri_of_the_environment_goes_with_it() -> None:
    (server,) = parse(["ping", "-h", "other"], {"KEYFERRY_URI": "redis://bob:pw@h:1/2?timeout=3"}).servers
    assert (server.address, server.user, server.password, server.db) == ("other:6379", "", "", None)
    assert server.timeout_s == 60


def test_a_user_in_the_environment_without_an_address_is_not_sent_to_one_in_flags() -> None:
    (server,) = parse(["ping", "-h", "x"], {"KEYFERRY_USER": "bob", "KEYFERRY_PASS": "pw"}).servers
    assert (server.user, server.password) == ("", "")


def test_a_password_that_was_all_that_was_set_is_sent() -> None:
    found = parse(["-h", "x", "replicate", "y"], {"KEYFERRY_TARGET_PASS": "pw", "KEYFERRY_TARGET_TIMEOUT": "3"})
    assert (found.source.password, found.target.password, found.target.timeout_s) == ("", "pw", 3.0)
    assert found.warnings == []


def test_a_password_of_the_environment_gives_way_to_one_in_flags(tmp_path) -> None:
    around = {"KEYFERRY_PASS_FILE": str(tmp_path / "none")}
    for words in (["-a", "mine"], ["-u", "redis://:mine@h"]):
        assert parse(["ping", *words], around).servers[0].password == "mine"


def test_an_address_of_one_side_leaves_the_other_side_alone() -> None:
    found = parse(["-h", "new", "replicate"], TWO | {"KEYFERRY_TARGET_USER": "bob", "KEYFERRY_TARGET_PASS": "pw"})
    assert (found.source.host, found.target.host, found.target.user, found.target.password) == ("new", "t", "bob", "pw")


def test_redis_clis_password_serves_commands_on_one_server() -> None:
    auth = {"REDISCLI_AUTH": "pw"}
    assert parse(["ping", "h"], auth).servers[0].password == "pw"
    assert parse(["ping", "h", "--user", "bob"], auth).servers[0].user == "bob"
    assert parse(["ping", "-a", "mine"], auth).servers[0].password == "mine"
    assert parse(["ping"], auth | {"KEYFERRY_PASS": "ours"}).servers[0].password == "ours"
    assert parse(["gen"], auth).servers[0].password == "pw"


def test_redis_clis_password_is_sent_to_neither_of_two_sides() -> None:
    found = parse(["replicate", "a", "b"], {"REDISCLI_AUTH": "pw"})
    assert (found.source.password, found.target.password) == ("", "")


@pytest.mark.parametrize("name", ["REDISCLI_AUTH", "KEYFERRY_PASS"])
def test_a_password_of_the_environment_is_not_sent_to_several_servers(name: str) -> None:
    found = parse(["ping", "a", "b"], {name: "pw"})
    assert [server.password for server in found.servers] == ["", ""]
    assert found.warnings == [f"{name} not sent: there is more than one server"]


def test_an_unknown_variable_brings_a_warning_with_the_nearest_name() -> None:
    found = parse(["ping"], {"KEYFERRY_WORKRES": "3", "KEYFERRY_NONSENSE": "1", "OTHER": "1", "KEYFERRY_EMPTY": ""})
    assert found.warnings == [
        "'KEYFERRY_NONSENSE' is unknown",
        "'KEYFERRY_WORKRES' is unknown; did you mean KEYFERRY_WORKERS?",
    ]


def test_options_that_only_a_hand_should_type_are_not_read_from_the_environment() -> None:
    found = parse(["generate"], {"KEYFERRY_FLUSH": "1", "KEYFERRY_YES": "1"})
    assert found.options["flush"] is False
    assert found.warnings == ["KEYFERRY_FLUSH is ignored: --flush is not read from the environment"]
    assert parse(["ping"], {"KEYFERRY_VERSION": "1"}).version is False


@pytest.mark.parametrize("service", ["KEYFERRY", "KEYFERRY_SOURCE", "KEYFERRY_TARGET", "KEYFERRY_REDIS"])
def test_what_kubernetes_injects_for_a_service_is_ignored_in_silence(service: str) -> None:
    around = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "6379",
        f"{service}_SERVICE_PORT_REDIS": "6379",
        f"{service}_PORT": "tcp://10.0.0.1:6379",
        f"{service}_PORT_6379_TCP": "tcp://10.0.0.1:6379",
        f"{service}_PORT_6379_TCP_PROTO": "tcp",
        f"{service}_PORT_6379_TCP_PORT": "6379",
        f"{service}_PORT_6379_TCP_ADDR": "10.0.0.1",
    }
    assert parse(["ping"], around).servers[0].address == "127.0.0.1:6379"
    assert parse(["replicate", "a", "b"], around).warnings == parse(["ping"], around).warnings == []


def test_what_the_command_of_on_converged_is_told_is_known_to_a_keyferry_that_it_runs() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text().splitlines()
    row = next(line for line in readme if "--on-converged CMD" in line)
    told = re.findall(r"`(KEYFERRY_\w+)`", row)
    assert len(told) == 4
    assert environment.warnings(dict.fromkeys(told, "1")) == []
