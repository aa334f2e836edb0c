"""The rules of the command line, in the order of the contract (rule 16, the environment, has its own file)."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyferry.grammar import Invocation, from_python, parse
from keyferry.options import BY_LETTER, BY_NAME, COMMAND_NAMES
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import UsageError


def read(line: str, **environ: str) -> Invocation:
    """A command line without its first word, split at blanks."""
    return parse(line.split(), environ)


def refusal(line: str, **environ: str) -> str:
    """The error of a command line, with its hint."""
    with pytest.raises(UsageError) as caught:
        read(line, **environ)
    assert "\n" not in f"{caught.value}{caught.value.hint}"
    return f"{caught.value} | {caught.value.hint}"


# Rule 1: two sides, and which word is the command


def test_words_before_the_command_are_the_source_and_words_after_it_the_target() -> None:
    found = read("-h source -p 6379 replicate --workers 2 -h target -p 6380 -n 3")
    assert (found.command, found.options["workers"]) == ("replicate", 2)
    assert (found.source.address, found.source.db) == ("source:6379", None)
    assert (found.target.address, found.target.db) == ("target:6380", 3)


def test_a_sides_options_leave_the_other_sides_defaults_alone() -> None:
    found = read("-p 1 -o 5 -m 20 replicate -h t")
    assert (found.source.port, found.source.timeout_s, found.source.pool) == (1, 5.0, 20)
    assert (found.target.port, found.target.timeout_s, found.target.pool) == (6379, 60.0, 8)


@pytest.mark.parametrize("line", ["-h replicate replicate", "-h ping -p 1 replicate", "-qh gen sync", "-h x -- replicate"])
def test_the_command_is_the_first_word_that_is_neither_an_option_nor_its_value(line: str) -> None:
    found = read(line)
    assert found.command == "replicate"
    assert found.source.host in ("replicate", "ping", "gen", "x")


@pytest.mark.parametrize(("alias", "name"), [("sync", "replicate"), ("gen", "generate")])
def test_aliases_mean_their_command(alias: str, name: str) -> None:
    words = [alias, *(["b"] if name == "generate" else ["a", "b"])]
    assert parse(words, {}).command == name


def test_options_of_the_command_belong_after_it() -> None:
    assert "--workers belongs after the command" in refusal("--workers 2 -h a replicate b")
    assert "--flush is no option of ping | it belongs to generate" in refusal("ping --flush")
    assert "no option of demo" in refusal("demo -h x")


# Rule 2: mixing, and the end of options


def test_options_and_positionals_mix_freely() -> None:
    assert read("replicate --workers 2 a --dry-run b -q") == read("replicate a b --workers 2 --dry-run -q")


def test_two_dashes_end_the_options_of_their_side() -> None:
    found = read("ping --count 3 -- a")
    assert [server.host for server in found.servers] == ["a"]
    assert read("ping -- -q").servers[0].host == "-q"
    assert read("-q -- ping a --count 3").options["count"] == 3


@pytest.mark.parametrize("line", ["replicate a b --work 2", "ping --hostnam x", "ping --ver"])
def test_long_options_are_not_abbreviated(line: str) -> None:
    assert "unknown option" in refusal(line)


def test_a_list_has_commas_and_never_several_words() -> None:
    assert read("replicate a b --dbs 0,3").options["dbs"] == [0, 3]
    assert "3" in refusal("replicate a b --dbs 0 3")


@pytest.mark.parametrize("line", ["ping --count=3", "ping --count 3"])
def test_a_long_options_value_is_attached_or_follows(line: str) -> None:
    assert read(line).options["count"] == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("replicate a b --workers", "--workers needs a value"),
        ("replicate a b --workers --dry-run", "--workers needs a value"),
        ("ping -p", "-p needs a value | write -p PORT"),
        ("ping --quiet=1", "--quiet takes no value"),
        ("ping -n -1", "-n '-1': must be a whole number"),
        ("ping -h a -h b", "-h says 'a', -h says 'b'"),
        ("ping --log-format xml", "--log-format 'xml': must be one of text, json"),
        ("generate --prefix", "--prefix needs a value"),
    ],
)
def test_a_value_that_is_missing_wrong_or_given_twice_is_an_error(line: str, message: str) -> None:
    assert message in refusal(line)


def test_a_value_that_begins_with_a_dash_is_attached() -> None:
    assert read("generate --prefix=-x").options["prefix"] == "-x"
    assert read("generate --prefix=").options["prefix"] == ""
    assert read("generate --log-file -").options["log_file"] == "-"


def test_the_same_value_twice_is_no_contradiction() -> None:
    assert read("ping -q -q -n 3 --db 3").servers[0].db == 3


# Rule 3: bundles


def test_letters_may_be_bundled_and_the_last_takes_the_value() -> None:
    found = read("-qh HOST ping")
    assert (found.options["quiet"], found.servers[0].host) == (True, "HOST")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ping -p6379", "-p is not the last | write -p PORT"),
        ("ping -p=6379", "write -p PORT"),
        ("ping -hq x", "-h is not the last"),
        ("ping -qa", "-a cannot be bundled"),
        ("ping -qaSECRET", "-a is not the last"),
        ("ping -qZ", "unknown option -Z"),
    ],
)
def test_other_bundles_are_refused(line: str, message: str) -> None:
    shown = refusal(line)
    assert message in shown or "-a cannot be bundled" in shown
    assert "SECRET" not in shown


# Rule 4: -h


@pytest.mark.parametrize("line", ["-h", "replicate a b -h", "-h -p 1 ping", "ping -h --count 3", "ping -qh"])
def test_h_is_the_host_and_not_help(line: str) -> None:
    assert refusal(line) == "-h is the host, as in redis-cli, and needs a value | help is --help"


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("-host", "--hostname"),
        ("-hostname", "--hostname"),
        ("-port", "--port"),
        ("-help", "--help"),
        ("-version", "--version"),
        ("-askpass", "--askpass"),
        ("-pass=SECRET", "--pass"),
        ("-pass-file", "--pass-file"),
    ],
)
def test_a_long_option_with_one_dash_is_told_its_right_form(word: str, right: str) -> None:
    shown = refusal(f"{word} x ping")
    assert "one dash too few" in shown
    assert shown.endswith(f"write {right}")
    assert "SECRET" not in shown


# Rule 5: help, version, unknown words


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("--help", ""),
        ("ping --help", "ping"),
        ("--help gen", "generate"),
        ("sync a b c d --workers nonsense --help", "replicate"),
        ("--nonsense --help", ""),
        ("-h --help", ""),
        ("-a --help replicate", "replicate"),
        ("ping --askpass --pass-file /none --help", "ping"),
        ("nonsense --help", ""),
        ("--version --help", ""),
    ],
)
def test_help_wins_anywhere_and_nothing_is_checked_opened_or_asked(line: str, command: str) -> None:
    assert read(line, KEYFERRY_WORKERS="x") == Invocation(command, help=True)


@pytest.mark.parametrize("line", ["--version", "-V", "ping -V", "-qV ping", "replicate --workers x --version", "x -V"])
def test_version_wins_anywhere(line: str) -> None:
    found = read(line)
    assert (found.version, found.help) == (True, False)


@pytest.mark.parametrize("line", ["ping -- --help", "ping -aV x"])
def test_after_two_dashes_or_within_a_password_nothing_is_help_or_version(line: str) -> None:
    found = read(line)
    assert not found.help
    assert not found.version


def test_no_word_at_all_is_help() -> None:
    assert parse([], {}) == Invocation(help=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("replicat a b", "unknown command 'replicat' | did you mean replicate?"),
        ("pong", "unknown command 'pong' | "),
        ("zzz", "unknown command 'zzz' | the commands are replicate, generate, ping, demo"),
        ("help", "unknown command 'help' | help is --help"),
        ("-q", "a command is missing"),
        ("replicate a b --wokers 2", "unknown option --wokers | did you mean --workers?"),
        ("ping --password x", "unknown option --password | did you mean --pass?"),
        ("replicate a b --live", "unknown option --live | keyferry --help"),
        ("replicate a b --idle-timeout 500", "unknown option --idle-timeout | keyferry --help"),
        ("replicate a b -t", "unknown option -t | keyferry --help"),
        ("ping -l", "unknown option -l | keyferry --help"),
        ("ping -c", "unknown option -c | keyferry --help"),
    ],
)
def test_an_unknown_command_or_option_is_refused_with_the_nearest_name(line: str, message: str) -> None:
    assert message in refusal(line)


@pytest.mark.parametrize("word", ["redis://u:SECRET@h", "SECRET99", "SEC RET"])
def test_a_word_in_the_commands_place_that_may_be_a_secret_is_not_shown(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([word], {})
    assert "SEC" not in str(caught.value)


# Rule 6: passwords


@pytest.mark.parametrize(
    ("words", "password"),
    [
        (["-aPW"], "PW"),
        (["-a=PW"], "PW"),
        (["-a==PW"], "=PW"),
        (["--pass=PW"], "PW"),
        (["-a", "PW"], "PW"),
        (["--pass", "PW"], "PW"),
        (["-aping"], "ping"),
        (["-a-x"], "-x"),
        (["-a=redis://x"], "redis://x"),
        (["--pass=--help-me"], "--help-me"),
    ],
)
def test_a_password_is_attached_or_the_word_that_follows(words: list[str], password: str) -> None:
    for line in ([*words, "ping"], ["ping", *words]):
        found = parse(line, {})
        assert found.servers[0].password == password
        assert len(found.warnings) == 1


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["-a", "replicate", "t"], "source"),
        (["-a", "-p", "1", "replicate", "t"], "source"),
        (["-p", "1", "replicate", "-a", "redis://t"], "target"),
        (["-p", "1", "replicate", "t", "--pass"], "target"),
        (["-p", "1", "replicate", "t", "--askpass"], "target"),
    ],
)
def test_without_a_word_that_can_be_a_password_it_is_asked_for_at_the_terminal(words: list[str], asked: str) -> None:
    screen, found = at_a_terminal(["-h", "s", *words] if asked == "source" else words, typed="typed secret\n")
    assert f"Password of {asked} " in screen
    assert found == f"{asked}='typed secret'"
    assert screen.count("typed secret") == 1  # the line above: typing shows nothing


def test_each_side_is_asked_for_by_its_name_and_address() -> None:
    screen, found = at_a_terminal(["-h", "s", "-a", "replicate", "redis://t:7", "-a"], typed="one\ntwo\n")
    assert "Password of source s:6379: " in screen
    assert "Password of target t:7: " in screen
    assert found == "source='one' target='two'"


def test_an_empty_answer_is_an_error() -> None:
    _, found = at_a_terminal(["-h", "s", "-a", "replicate", "t"], typed="\n")
    assert found == "error: source s:6379: the password is empty"


def test_nobody_is_asked_while_something_else_is_wrong() -> None:
    screen, found = at_a_terminal(["-h", "s", "-a", "replicate", "t", "-n", "2", "--dbs", "all"], typed="")
    assert "Password" not in screen
    assert found.startswith("error: ")


def test_without_a_terminal_the_hint_is_a_password_file() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ASKING, "-h", "s", "-a", "replicate", "t"],
        input="from stdin\n", capture_output=True, text=True, timeout=30, start_new_session=True, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "error: source s:6379: there is no terminal to ask for the password"


ASKING = """
import sys
from keyferry.grammar import parse
from keyferry.workers.errors import UsageError
try:
    found = parse(sys.argv[1:], {})
    sides = {"source": found.source, "target": found.target}
    print(*(f"{name}={side.password!r}" for name, side in sides.items() if side.password))
except UsageError as error:
    print("error:", error)
"""


def at_a_terminal(words: list[str], typed: str) -> tuple[str, str]:
    """What a terminal shows while a command line is read, and the last line of it; standard input is /dev/null."""
    master, slave = pty.openpty()
    # The leader of a new session gets the first terminal that it opens as its own.
    code = f"import os; os.open({os.ttyname(slave)!r}, os.O_RDWR)\n{ASKING}"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    answers, screen = typed.splitlines(keepends=True), ""
    while chunk := _read(master):
        screen += chunk
        # A line is typed only when it is asked for, or the terminal would show it.
        while answers and screen.count(": ") > len(typed.splitlines()) - len(answers):
            os.write(master, answers.pop(0).encode())
    os.close(master)
    child.wait(timeout=30)
    return screen, screen.strip().splitlines()[-1]


def _read(master: int) -> str:
    try:
        return os.read(master, 1 << 16).decode()
    except OSError:  # the child has gone
        return ""


@pytest.mark.parametrize("words", [["-a="], ["-a", ""], ["--pass="], ["-u", "redis://u:@h"]])
def test_an_empty_password_is_an_error(words: list[str]) -> None:
    with pytest.raises(UsageError, match="empty"):
        parse(["ping", *words], {})


@pytest.mark.parametrize("forms", ["-aSECRET --askpass", "--askpass --pass-file {}", "-aSECRET --pass-file {}"])
def test_a_password_is_given_in_one_form(forms: str, password_file) -> None:
    forms = forms.format(password_file)
    assert "two ways to give one password" in refusal(f"ping {forms}")
    assert "two ways" in refusal(f"{forms.split(' ', 1)[0]} ping {forms.split(' ', 1)[1]}")
    assert "both give a password" in refusal(f"ping redis://:SECRET@h {forms.split(' ', 1)[-1]}")
    assert "SECRET" not in refusal(f"ping -aSECRET -aSECRET2 {forms}")


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("from file\r\nsecond line\n")
    path.chmod(0o600)
    return path


def test_a_password_file_gives_its_first_line(password_file) -> None:
    found = read(f"ping --pass-file {password_file}")
    assert (found.servers[0].password, found.warnings) == ("from file", [])


def test_a_password_file_that_others_can_read_brings_a_warning(password_file) -> None:
    password_file.chmod(0o644)
    (warning,) = read(f"ping --pass-file {password_file}").warnings
    assert "can be read by others" in warning


def test_a_password_file_that_cannot_serve_is_an_error(tmp_path) -> None:
    (tmp_path / "empty").write_text("\nx")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    assert "No such file" in refusal(f"-h s --pass-file {tmp_path}/none replicate t")
    assert refusal(f"-h s --pass-file {tmp_path} replicate t").startswith("source: --pass-file")
    assert "first line is empty" in refusal(f"ping --pass-file {tmp_path}/empty")
    assert "not UTF-8" in refusal(f"ping --pass-file {tmp_path}/binary")


def test_passwords_on_the_command_line_bring_one_warning() -> None:
    assert len(read("-h s -a one replicate redis://:two@t").warnings) == 1
    assert read("replicate redis://s redis://t", KEYFERRY_SOURCE_PASS="x").warnings == []


# Rule 7: users


def test_a_user_needs_a_password_from_somewhere(password_file) -> None:
    assert "--user needs a password" in refusal("-h s --user bob replicate t")
    for more in ("-aPW", f"--pass-file {password_file}"):
        assert read(f"ping --user bob {more}").servers[0].user == "bob"
    assert read("replicate s redis://t --user bob", KEYFERRY_TARGET_PASS="pw").target.user == "bob"
    assert read("ping redis://:pw@h --user bob").servers[0].user == "bob"


# Rule 8: URIs (the URIs themselves: test_endpoint.py)


def test_a_uri_names_a_whole_side() -> None:
    found = read("-u redis://bob:p%40@s:1/2?timeout=5 replicate unix:///t.sock")
    assert found.source == Endpoint("s", 1, "", "bob", "p@", 2, 5.0, "", 8)
    assert found.target.address == "/t.sock"


def test_a_lone_word_in_a_uri_is_the_user_once_a_password_comes_from_elsewhere(password_file) -> None:
    assert "redis-cli reads" in refusal("ping redis://bob@h")
    (server,) = read(f"ping redis://bob@h --pass-file {password_file}").servers
    assert (server.user, server.password) == ("bob", "from file")


def test_an_error_in_a_uri_names_its_side_or_option() -> None:
    assert refusal("replicate redis://s redis://t/x").startswith("target: redis://…: the database")
    assert refusal("-u redis://s:x replicate t").startswith("source: -u: redis://…: the port")
    assert "no TLS" in refusal("replicate rediss://s t")


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
        ("ping redis://a:pw@h --user b -apw", ("says 'a'", "--user says 'b'")),
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


@pytest.mark.parametrize("line", ["-h x replicate s t", "replicate s t -p 1", "-s /x replicate s t", "replicate s t -u x"])
def test_beside_two_positionals_no_option_names_an_address(line: str) -> None:
    assert "both name an address" in refusal(line)


def test_one_positional_is_the_target() -> None:
    assert read("-p 1 replicate t").target.host == "t"
    assert read("replicate t", KEYFERRY_SOURCE_URI="redis://s").source.host == "s"
    assert "one address is the TARGET" in refusal("replicate t")
    assert "both name an address" in refusal("-p 1 replicate t -p 2")


def test_u_twice_would_be_two_seeds() -> None:
    assert refusal("replicate -u redis://s -u redis://t").endswith("keyferry replicate SOURCE TARGET")


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
@pytest.mark.parametrize("one", ["-n 0 replicate s t", "replicate s/1 t", "replicate s t -n 2", "replicate s redis://t/0"])
def test_several_databases_exclude_one_database_of_a_side(databases: str, one: str) -> None:
    assert databases.split()[0] in refusal(f"{one} {databases}")


def test_databases_are_kept_or_renamed() -> None:
    assert read("replicate s t --dbs all").options["dbs"] == "all"
    assert read("replicate s t --db-map 0:2,3:1").options["db_map"] == {0: 2, 3: 1}
    assert "--dbs and --db-map exclude each other" in refusal("replicate s t --dbs 0 --db-map 0:1")


def test_two_databases_into_one_need_a_word() -> None:
    assert "--merge-dbs" in refusal("replicate s t --db-map 0:1,2:1")
    assert read("replicate s t --db-map 0:1,2:1 --merge-dbs").options["merge_dbs"] is True


# Rule 14: global options


def test_global_options_stand_on_either_side() -> None:
    for line in ("-q replicate a b", "replicate a b -q", "-q replicate a b -q", "replicate -q a b"):
        assert read(line).options["quiet"] is True
    assert "says 'text'" in refusal("--log-format text replicate a b --log-format json")


@pytest.mark.parametrize("line", ["-q ping -d", "ping -qi", "-di ping", "--info ping --debug"])
def test_quiet_info_and_debug_exclude_each_other(line: str) -> None:
    assert "exclude each other" in refusal(line)


# The pool and the workers (section 2)


def test_the_pool_holds_all_workers() -> None:
    assert read("replicate a b --workers 20").source.pool == 20
    assert read("replicate a b --workers 2").target.pool == 8
    shown = refusal("-m 3 replicate -h b --workers 4")
    assert "--workers 4" in shown
    assert "--pool 3" in shown
    assert read("-m 1 replicate -h b").options["workers"] == 1


# Rule 15: units


@pytest.mark.parametrize(("line", "readings"), [("--wait-for 60", ("60s", "60ms")), ("--ttl-share 1 --ttl 5-9", ("1%",))])
def test_a_bare_number_is_refused_with_both_readings_where_a_unit_is_needed(line: str, readings: list[str]) -> None:
    shown = refusal(f"replicate a b {line}" if "wait" in line else f"generate {line}")
    assert "the unit is missing" in shown
    assert all(reading in shown for reading in readings)


def test_durations_and_sizes_have_units() -> None:
    assert read("replicate a b --wait-for 250ms").options["wait_for"] == 0.25
    assert read("ping -o 5").servers[0].timeout_s == 5.0
    found = read("generate --size 1k-1kb --ttl 60s-1h --ttl-share 25% --elements 3")
    assert (found.options["size"], found.options["ttl"]) == ((1000, 1024), (60.0, 3600.0))
    assert (found.options["ttl_share"], found.options["elements"]) == (0.25, (3, 3))


# Options of generate that need each other


def test_emptying_a_database_needs_a_second_word() -> None:
    assert "--yes" in refusal("generate --flush")
    assert read("generate --flush --yes").options["flush"] is True


def test_expiries_need_keys_to_have_them() -> None:
    assert "--ttl needs --ttl-share" in refusal("generate --ttl 1s-2s")


# Rule 17: redis-cli


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("-r 5 ping", "keyferry ping --count"),
        ("-x replicate a b", "keyferry generate"),
        ("--scan", "keyferry replicate scans"),
        ("ping --bigkeys", "redis-cli does that"),
        ("--pipe", "keyferry generate"),
        ("--rdb file", "keyferry replicate"),
        ("ping --latency-history", "keyferry ping"),
        ("--no-auth-warning ping", "--pass-file"),
    ],
)
def test_an_option_of_redis_cli_is_told_what_does_it_here(line: str, instead: str) -> None:
    shown = refusal(line)
    assert "is an option of redis-cli, not of keyferry" in shown
    assert instead in shown


# Python


def test_python_gets_the_same_invocation_as_the_command_line() -> None:
    assert from_python("replicate", ["redis://s/1", Endpoint("t")], workers=2) == read("replicate s/1 t --workers 2")
    assert from_python("ping", ["h"], count=3) == read("ping h --count 3")


@pytest.mark.parametrize(
    ("servers", "keywords"),
    [
        (["redis://s", "redis://bob@t"], {}),
        (["redis://s/1", "redis://t"], {"dbs": "all"}),
        ([Endpoint(pool=2), "t"], {"workers": 3}),
    ],
)
def test_python_gets_the_same_refusals(servers: list[str | Endpoint], keywords: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        from_python("replicate", servers, **keywords)


# What holds for any words

WORDS = st.lists(
    st.sampled_from(
        [*COMMAND_NAMES, *(f"--{name}" for name in BY_NAME), *(f"-{letter}" for letter in BY_LETTER)]
        + ["--", "-", "", "a", "3", "5s", "0:1", "redis://u:p@h/1", "h:1", "-qd", "-hq", "--db=2", "-a=x", "--x=y", "é"]
    )
    | st.text(max_size=6),
    max_size=8,
)


@given(WORDS, st.dictionaries(st.sampled_from(["KEYFERRY_URI", "KEYFERRY_SOURCE_PORT", "KEYFERRY_X"]), st.text(max_size=5)))
def test_no_words_bring_anything_but_an_invocation_or_a_usage_error(words: list[str], environ: dict[str, str]) -> None:
    words = [word for word in words if word not in ("-a", "--pass", "--askpass")]  # a terminal would be asked
    try:
        parse(words, environ)
    except UsageError as error:
        assert f"{error}{error.hint}".isprintable()


SECRET = st.text("qwzjkQWZJK%@:/?#[]&=", min_size=8, max_size=16).map(lambda text: "q" + text)


@given(SECRET, st.sampled_from(["-a", "-a=", "--pass=", "-u redis://:{}@h", "redis://u:{}@h", "KEYFERRY_PASS"]), WORDS)
def test_a_password_is_never_shown(secret: str, form: str, more: list[str]) -> None:
    more = [word for word in more if word not in ("-a", "--pass", "--askpass")]
    environ = {"KEYFERRY_PASS": secret} if form.startswith("KEYFERRY") else {}
    words = [] if environ else [part.format(secret) for part in form.split()] if "{}" in form else [form + secret]
    try:
        shown = repr(parse(["ping", *words, *more], environ))
    except UsageError as error:
        shown = f"{error} {error.hint} {error!r}"
    assert secret not in shown


def test_words_that_are_not_text_are_refused() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        parse(["ping", "-h", "\udcff"], {})


def test_a_usage_error_has_no_control_characters() -> None:
    with pytest.raises(UsageError) as caught:
        parse(["ping", "-p", "\x1b]0;x\a\n"], {})
    assert str(caught.value).isprintable()
