"""The rules of the command line, in the order of the contract.

Elsewhere: passwords and users (6, 7) in test_passwords.py, addresses and databases (8-10, 12, 13) in test_sides.py, the
environment (16) in test_environment.py.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.grammar import Invocation, from_python, parse
from keyferry.options import BY_LETTER, BY_NAME, COMMAND_NAMES
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import UsageError
from tests.support.words import read, refusal

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


@pytest.mark.parametrize(
    "line", ["-h replicate replicate", "-h ping -p 1 replicate", "-qh gen sync", "-h x -- replicate"]
)
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
        ("ping a b --for copy", "--for 'copy': must be a duration like 5s, for ping: replicate"),
        ("ping a b --for 5s", "--for: must be replicate"),
        ("generate --churn 5 --for replicate", "--for: must be a duration above 0, like 5ms"),
        ("generate --churn 5 --for 5", "--for '5': the unit is missing"),
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
        ("zzz", "unknown command 'zzz' | the commands are replicate, compare, generate, ping, demo"),
        ("help", "unknown command 'help' | help is --help"),
        ("-q", "a command is missing | keyferry --help"),
        ("-p replicate -h t", "a command is missing | -p took 'replicate' as its value"),
        ("replicate a b --wokers 2", "unknown option --wokers | did you mean --workers?"),
        ("ping --password x", "unknown option --password | did you mean --pass?"),
        ("ping -k", "unknown option -k | keyferry --help"),
        ("ping -z", "unknown option -z | keyferry --help"),
    ],
)
def test_an_unknown_command_or_option_is_refused_with_the_nearest_name(line: str, message: str) -> None:
    assert message in refusal(line)


@pytest.mark.parametrize("word", ["redis://u:SECRET@h", "SECRET99", "SEC RET"])
def test_a_word_in_the_commands_place_that_may_be_a_secret_is_not_shown(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([word], {})
    assert "SEC" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("line", "readings"), [("--wait-for 60", ("60s", "60ms")), ("--ttl-share 1 --ttl 5-9", ("1%",))]
)
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


def test_no_difference_is_listed_by_default_and_that_can_be_said() -> None:
    assert read("compare a b --show-diffs 0").options["show_diffs"] == read("compare a b").options["show_diffs"] == 0


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


@given(
    WORDS, st.dictionaries(st.sampled_from(["KEYFERRY_URI", "KEYFERRY_SOURCE_PORT", "KEYFERRY_X"]), st.text(max_size=5))
)
def test_no_words_bring_anything_but_an_invocation_or_a_usage_error(words: list[str], environ: dict[str, str]) -> None:
    words = [word for word in words if word not in ("-a", "--pass", "--askpass")]  # a terminal would be asked
    try:
        parse(words, environ)
    except UsageError as error:
        assert f"{error}{error.hint}".isprintable()


def test_words_that_are_not_text_are_refused() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        parse(["ping", "-h", "\udcff"], {})


def test_a_usage_error_has_no_control_characters() -> None:
    with pytest.raises(UsageError) as caught:
        parse(["ping", "-p", "\x1b]0;x\a\n"], {})
    assert str(caught.value).isprintable()
