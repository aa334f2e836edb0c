"""What the options do that say how much is told, in which form, and where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keyferry import VERSION
from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.filling import keyspace, write_strings
from tests.support.monitor import connections_taken
from tests.support.processes import run_keyferry
from tests.support.prompts import at_a_terminal
from tests.support.servers import Server, free_port

#: RFC 3339, in UTC, with milliseconds.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
#: The beginning of an escape sequence that sets a colour.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Server, Server]:
    """A source with some keys and a target with others, which draws a warning."""
    source, target = server("7.0"), server("9.1")
    write_strings(source, 2_000)
    write_strings(target, 5, prefix="other:")
    return source, target


@pytest.mark.covers("help", "version")
@pytest.mark.parametrize(("word", "says"), [("--help", "Usage:"), ("--version", VERSION), ("-V", VERSION)])
def test_help_and_version_are_all_that_happens(word: str, says: str, pair: tuple[Server, Server]) -> None:
    source, target = pair
    connections = [connections_taken(one) for one in pair]
    ran = run_keyferry(*at(source), "replicate", *at(target), "--nonsense", word)
    assert (ran.code, ran.err) == (0, "")
    assert says in ran.out
    assert [connections_taken(one) for one in pair] == connections


@pytest.mark.covers("quiet")
def test_quiet_tells_errors_only(pair: tuple[Server, Server]) -> None:
    source, target = pair
    assert copied(source, target, "-q").err == ""
    failed = run_keyferry("-q", "-p", str(free_port()), "replicate", *at(target))
    assert [line[:5] for line in failed.err.splitlines()] == ["error", "hint:"]


@pytest.mark.covers("info")
def test_info_tells_more_than_usual(pair: tuple[Server, Server]) -> None:
    usual, more = copied(*pair).err.splitlines(), copied(*pair, "-i").err.splitlines()
    assert len(more) > len(usual)


@pytest.mark.covers("debug")
def test_debug_shows_where_an_error_came_from(server: ServerFactory) -> None:
    words = ("-p", str(free_port()), "replicate", *at(server("7.0")))
    plain, debug = run_keyferry(*words), run_keyferry(*words, "-d")
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert debug.err.endswith(plain.err)


@pytest.mark.covers("log-format")
def test_the_log_as_json_is_an_object_a_line(pair: tuple[Server, Server]) -> None:
    source, target = pair
    lines = [json.loads(line) for line in copied(source, target, "--log-format", "json").err.splitlines()]
    assert {line["level"] for line in lines} == {"notice", "warning"}
    assert all(TIME.fullmatch(line["time"]) and line["message"] for line in lines)
    failed = run_keyferry(*at(source), "replicate", "-p", str(free_port()), "--log-format", "json")
    (line,) = map(json.loads, failed.err.splitlines())
    assert line["level"] == "error" and line["side"] == "target" and line["hint"]
    assert line["message"].startswith(f"target {line['address']}: not reached")


@pytest.mark.covers("log-file")
def test_the_log_file_has_every_line_with_its_time(pair: tuple[Server, Server], tmp_path: Path) -> None:
    path = tmp_path / "log"
    first, second = (copied(*pair, "--log-file", str(path)) for _ in range(2))
    lines = path.read_text().splitlines()
    assert all(TIME.fullmatch(line.split(" ", 1)[0]) for line in lines)
    assert [line.split(" ", 1)[1] for line in lines] == (first.err + second.err).splitlines()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.covers("no-color")
def test_colours_are_for_terminals_and_can_be_turned_off(server: ServerFactory) -> None:
    words = ("-p", str(free_port()), "replicate", *at(server("7.0")))
    (_, usual), (_, plain) = at_a_terminal(*words), at_a_terminal(*words, "--no-color")
    assert not COLOUR.search(plain)
    assert COLOUR.search(usual)


@pytest.mark.covers("progress")
def test_progress_is_a_bar_at_a_terminal_unless_lines_are_asked_for(pair: tuple[Server, Server]) -> None:
    source, target = pair
    words = (*at(source), "replicate", *at(target))
    ran, screen = at_a_terminal(*words)
    assert ran.code == 0, screen
    assert BAR.search(screen) and "copy begins" not in screen
    ran, screen = at_a_terminal(*words, "--progress", "log")
    assert not BAR.search(screen) and "copy begins" in screen.splitlines()
    ran, screen = at_a_terminal(*words, kind="dumb")
    assert not BAR.search(screen) and "copy begins" in screen.splitlines()
    ran, screen = at_a_terminal(*words, columns=0)  # one that nobody has told its size
    assert not BAR.search(screen) and "copy begins" in screen.splitlines()


#: tqdm's bar: drawn over itself, with a share.
BAR = re.compile(r"\rcopy +[\d.]+ %\|")


@pytest.mark.covers("progress")
def test_progress_for_programs_is_an_object_a_line(pair: tuple[Server, Server]) -> None:
    source, target = pair
    ran = copied(source, target, "--progress", "json")
    first, *_, last = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    assert first["phase"] == last["phase"] == "copy" and TIME.fullmatch(first["time"])
    assert (first["keys_total"], first["total_known"], first["share"]) == (2_000, False, 0)
    assert (last["keys"], last["total_known"], last["share"], last["state"]) == (2_000, True, 1, "running")
    assert [*first, "live"] == [*last, "live"] == documented_fields()


def documented_fields() -> list[str]:
    """The fields of a progress line as README lists them, in their order."""
    table = (Path(__file__).parents[1] / "README.md").read_text().partition("| field of a progress line | |")[2]
    return re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", table.partition("\n\n")[0], re.MULTILINE)))


@pytest.mark.covers("progress")
def test_no_progress_leaves_the_other_messages(pair: tuple[Server, Server]) -> None:
    err = copied(*pair, "--progress", "none").err
    assert "copy begins" not in err
    assert "warning: target db 0 holds 5 keys" in err


@pytest.mark.covers("json")
def test_the_result_as_json_is_one_object_on_stdout(pair: tuple[Server, Server]) -> None:
    source, target = pair
    told = json.loads(copied(source, target, "--json").out)
    assert (told["keys"], told["exit_code"], told["exact"], told["verified"]) == (2_000, 0, True, False)
    assert keyspace(target)[0] >= keyspace(source)[0]
