"""Rules 8 to 10, 12 and 13 of the command line: addresses and databases (rule 11 needs servers)."""

from __future__ import annotations

import pytest

from keyferry.workers.endpoint import Endpoint
from tests.support.words import read, refusal

# Rule 8: URIs (the URIs themselves: test_endpoint.py)


def test_a_uri_names_a_whole_side() -> None:
    found = read("-u redis://bob:p%40@s:1/2?timeout=5 replicate unix:///t.sock")
    assert found.source == Endpoint("s", 1, "", "bob", "p@", 2, 5.0, "", 8)
    assert found.target.address == "/t.sock"


def test_a_lone_word_in_a_uri_is_the_user_once_a_password_comes_from_elsewhere() -> None:
    assert "redis-cli reads" in refusal("ping redis://bob@h")
    (server,) = read("ping redis://bob@h -aPW").servers
    assert (server.user, server.password) == ("bob", "PW")


def test_an_error_in_a_uri_names_its_side_or_option() -> None:
    assert refusal("replicate redis://s redis://t/x").startswith("target: redis://…: the database")
    assert refusal("-u redis://s:x replicate t").startswith("source: -u: redis://…: the port")
    assert "names no service" in refusal("replicate redis+sentinel://s t")


# Rule 9: one address a side


@pytest.mark.parametrize("more", ["-h x", "-p 1", "-s /x"])
def test_a_uri_excludes_host_port_and_socket(more: str) -> None:
    shown = refusal(f"-u redis://s {more} replicate t")
    assert shown.startswith(f"source: -u and {more[:2]} both name the address")


def test_a_socket_overrides_host_and_port_with_a_warning() -> None:
    found = read("ping -s /x -h h -p 1")
    assert (found.servers[0].address, found.warnings) == ("/x", ["-s overrides -h and -p"])


def test_other_options_complete_a_uri() -> None:
    found = read("-n 2 -o 5 -m 9 --user bob -apw replicate redis://s redis://t")
    assert found.source == Endpoint("s", 6379, "", "bob", "pw", 2, 5.0, "", 9)


@pytest.mark.parametrize(
    ("line", "both"),
    [
        ("ping redis://h/2 -n 3", ("URI of SERVER says 2", "-n says 3")),
        ("ping redis://h?timeout=2 -o 3", ("says 2.0", "-o says 3.0")),
        ("ping redis://a:pw@h --user b -apw", ("URI of SERVER and --user name different users",)),
        ("ping redis://a:SECRET@h -aOTHER", ("the URI of SERVER and -a both give a password",)),
        ("-n 1 ping -n 2", ("-n says 1", "-n says 2")),
    ],
)
def test_the_same_thing_said_twice_with_different_values_is_refused_naming_both(line: str, both: list[str]) -> None:
    shown = refusal(line)
    assert all(one in shown for one in both)
    assert "SECRET" not in shown


def test_the_same_thing_said_twice_with_one_value_is_fine() -> None:
    assert read("ping redis://a:pw@h/2 -n 2 --user a -apw").servers[0].db == 2


# Rule 10: positionals of commands on two servers


def test_two_positionals_are_source_and_target() -> None:
    found = read("replicate s t:1")
    assert (found.source.address, found.target.address) == ("s:6379", "t:1")


@pytest.mark.parametrize(
    "line", ["-h x replicate s t", "replicate s t -p 1", "-s /x replicate s t", "replicate s t -u x"]
)
def test_beside_two_positionals_no_option_names_an_address(line: str) -> None:
    assert "both name an address" in refusal(line)


def test_one_positional_is_the_target() -> None:
    assert read("-p 1 replicate t").target.host == "t"
    assert read("replicate t", KEYFERRY_SOURCE_URI="redis://s").source.host == "s"
    assert "one address is the TARGET" in refusal("replicate t")
    assert "both name an address" in refusal("-p 1 replicate t -p 2")


def test_u_twice_is_two_seeds_of_one_cluster() -> None:
    found = read("replicate -u redis://:pw@s -u redis://t:7 -u u:8")
    assert (found.target.address, found.target.seeds, found.target.password) == ("s:6379", (("t", 7), ("u", 8)), "pw")
    assert "says 'pw'" not in refusal("replicate -u redis://:pw@s -u redis://:other@t")
    assert "both give a password" in refusal("replicate -u redis://:pw@s -u redis://:other@t")
    assert "Sentinels are named in one URI" in refusal("replicate -u redis+sentinel://s/x -u redis+sentinel://t/x")
    assert "keyferry replicate SOURCE TARGET" in refusal("replicate -u redis://s -u redis+unix:///t")


def test_at_least_one_side_is_named_and_a_default_is_marked() -> None:
    assert "neither the source nor the target" in refusal("replicate -n 3")
    found = read("replicate -p 6380")
    assert (found.source.address, found.defaulted) == ("127.0.0.1:6379", {"source"})
    assert read("replicate a b").defaulted == set()
    assert read("ping").defaulted == {""}


def test_a_third_positional_is_refused_without_showing_it() -> None:
    assert "takes 2 addresses, not 3" in refusal("replicate a b redis://:SECRET@c")
    assert "SECRET" not in refusal("replicate a b redis://:SECRET@c")
    assert "takes 1 address, not 2" in refusal("generate a b")
    assert "takes no address, not 1" in refusal("demo a")


# Rule 12: commands on one server


def test_the_options_of_both_sides_are_merged() -> None:
    (server,) = read("-h h -aPW generate -p 1 -n 3").servers
    assert (server.address, server.password, server.db) == ("h:1", "PW", 3)
    assert "-h says 'a', -h says 'b'" in refusal("-h a ping -h b")
    assert "-a and -a both give a password" in refusal("-a SECRET ping -a OTHER")
    assert "name different servers" in refusal("-u redis://:SECRET@a ping -u redis://b")


def test_or_one_positional_uri_names_the_server() -> None:
    assert read("generate redis://h/3").servers[0].db == 3
    assert "SERVER and -p both name an address" in refusal("generate h -p 1")
    assert "SERVER and -h both name an address" in refusal("-h x ping h")


def test_ping_takes_any_number_of_servers() -> None:
    assert [server.address for server in read("ping a:1 redis://b unix:///c").servers] == ["a:1", "b:6379", "/c"]
    assert [server.timeout_s for server in read("-o 3 ping a b").servers] == [3.0, 3.0]
    assert read("ping").servers[0].address == "127.0.0.1:6379"
    assert read("demo").servers == []


# Rule 13: databases


def test_a_database_is_per_side() -> None:
    found = read("-n 3 -h s replicate t")
    assert (found.source.db, found.target.db) == (3, None)


@pytest.mark.parametrize("databases", ["--dbs all", "--dbs 0,3", "--db-map 0:2"])
@pytest.mark.parametrize(
    "one", ["-n 0 replicate s t", "replicate s/1 t", "replicate s t -n 2", "replicate s redis://t/0"]
)
def test_several_databases_exclude_one_database_of_a_side(databases: str, one: str) -> None:
    assert databases.split()[0] in refusal(f"{one} {databases}")


def test_databases_are_kept_or_renamed() -> None:
    assert read("replicate s t --dbs all").options["dbs"] == "all"
    assert read("replicate s t --db-map 0:2,3:1").options["db_map"] == {0: 2, 3: 1}
    assert "--dbs and --db-map exclude each other" in refusal("replicate s t --dbs 0 --db-map 0:1")


def test_two_databases_into_one_need_a_word() -> None:
    assert "--merge-dbs" in refusal("replicate s t --db-map 0:1,2:1")
    assert read("replicate s t --db-map 0:1,2:1 --merge-dbs").options["merge_dbs"] is True


def test_keys_of_two_databases_in_one_are_not_pruned() -> None:
    said = refusal("replicate s t --db-map 0:1,2:1 --merge-dbs --repair --prune")
    assert said.startswith("--prune cannot mend two databases that go into one")
    assert refusal("compare s t --db-map 0:1,2:1 --merge-dbs --repair --prune") == said
