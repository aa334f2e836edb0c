"""The log: what a line holds in each form, where it goes, and that no trouble with it ends a run."""

from __future__ import annotations

import base64
import json
import re
import signal
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.filling import write_strings
from tests.support.hooks import Slow
from tests.support.output import CONTROL, EVIL
from tests.support.processes import run_keyferry, shell, start_keyferry
from tests.support.prompts import at_a_terminal
from tests.support.respproxy import Proxy
from tests.support.servers import Server, free_port
from tests.support.terminal import Terminal

#: A key that is no text.
BINARY = b"\xff\x00\x1b[2J"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Server, Server]:
    """A source with sets that the target refuses, under names that are a terminal's nightmare."""
    source, target = server("8.2"), server("7.0")
    write_strings(source, 100)
    for key in (EVIL, BINARY):
        source.call("SADD", key, "x")
    return source, target


def test_a_key_in_the_log_is_escaped_in_text_and_exact_in_json(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    words = [*at(source), "replicate", *at(target), "--put-aside", str(tmp_path / "aside")]
    text = run_keyferry(*words).err
    assert r'warning: put aside "\xff\x00\x1b[2J" (db 0, set): target: ERR ' in text
    assert not CONTROL.search(text)
    told = [json.loads(line) for line in run_keyferry(*words, "--log-format", "json").err.splitlines()]
    keys = {
        base64.b64decode(one["key_b64"]) if "key_b64" in one else one["key"].encode() for one in told if "key" in one
    }
    assert keys == {EVIL, BINARY}
    assert {(one["level"], one["db"]) for one in told if "key" in one} == {("warning", 0)}


def test_only_the_first_keys_that_are_put_aside_are_told(server: ServerFactory, tmp_path: Path) -> None:
    source, target, aside = server("8.2"), server("7.0"), tmp_path / "aside"
    for number in range(30):
        source.call("SADD", f"set:{number}", "x")
    ran = run_keyferry(*at(source), "replicate", *at(target), "--put-aside", str(aside))
    assert len(re.findall(r"^warning: put aside ", ran.err, re.MULTILINE)) == 5
    assert f"warning: more keys are put aside: {aside} names them all" in ran.err.splitlines()
    assert len(aside.read_text().splitlines()) == 30
    last = ran.err.splitlines().index(f"warning: 30 keys put aside: see {aside}")
    assert ran.err.splitlines()[last + 1].startswith("hint: mend the reason that it names for each key")


def test_errors_in_json_have_their_parts_and_no_prefix(server: ServerFactory) -> None:
    port = free_port()
    ran = run_keyferry("-p", str(port), "replicate", *at(server("7.0")), "--log-format", "json")
    (line,) = map(json.loads, ran.err.splitlines())
    assert list(line) == ["time", "level", "message", "side", "address", "hint"]
    assert line["message"].startswith(f"source 127.0.0.1:{port}: not reached")


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (("replicate", "a", "b", "--nonsense", "--log-format", "json"), {}),
        (("--log-format=json", "-h"), {}),
        (("replicate", "a", "b", "--wait-for", "5"), {"KEYFERRY_LOG_FORMAT": "json"}),
        (("ping", "--log-format", "json", "--log-file", "/none/log"), {}),
    ],
)
def test_wrong_usage_is_told_in_json_too(words: tuple[str, ...], env: dict[str, str]) -> None:
    ran = run_keyferry(*words, env=env)
    (line,) = map(json.loads, ran.err.splitlines())
    assert (ran.code, line["level"]) == (2, "error")
    assert line["message"] and line["hint"]


@pytest.mark.parametrize(
    "words", [("ping", "--nonsense"), ("ping", "--log-format"), ("ping", "--log-format", "text", "--count", "x")]
)
def test_wrong_usage_is_told_in_words_otherwise(words: tuple[str, ...]) -> None:
    ran = run_keyferry(*words, env={"KEYFERRY_LOG_FORMAT": "json" if "text" in words else ""})
    assert [line.partition(": ")[0] for line in ran.err.splitlines()] == ["error", "hint"]


def test_wrong_usage_has_no_colour_where_none_is_wanted() -> None:
    assert "\x1b[31m" in at_a_terminal("ping", "--nonsense")[1]
    assert "\x1b" not in at_a_terminal("ping", "--nonsense", "--no-color")[1]


@pytest.mark.parametrize("words", [(), ("--log-format", "json"), ("-d",), ("--progress", "json")])
def test_a_password_is_in_no_line(words: tuple[str, ...], server: ServerFactory, tmp_path: Path) -> None:
    secret, path = "s3cr3t-s3cr3t", tmp_path / "log"
    source, target = server("7.0", password=secret), server("9.1")
    write_strings(source, 10)
    more = (*words, "--log-file", str(path))
    good = run_keyferry("-u", f"redis://:{secret}@{source.address}", "replicate", *at(target), *more)
    bad = run_keyferry(*at(source), f"-a{secret}-wrong", "replicate", *at(target), *more)
    assert (good.code, bad.code) == (0, 3), good.err + bad.err
    assert secret not in good.err + good.out + bad.err + bad.out + path.read_text()


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_has_what_a_terminal_shows_but_neither_bar_nor_colour(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, target = pair
    log, aside = tmp_path / "log", tmp_path / "aside"
    with Terminal(*at(source), "replicate", *at(target), "--log-file", str(log), "--put-aside", str(aside)) as terminal:
        ran, screen = terminal.ended()
    assert ran.code == 1
    lines = log.read_text().splitlines()
    assert all(STAMP.match(line) for line in lines)
    assert "".join(STAMP.sub("", line, count=1) for line in lines).replace(" ", "") == "".join(screen).replace(" ", "")
    assert not CONTROL.search(log.read_text())


def test_the_lines_for_programs_are_in_the_file_too(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    log, aside = tmp_path / "log", tmp_path / "aside"
    words = ("--progress", "json", "--log-format", "json", "--log-file", str(log), "--put-aside", str(aside))
    ran = run_keyferry(*at(source), "replicate", *at(target), *words)
    assert log.read_text() == ran.err
    assert all("time" in json.loads(line) for line in ran.err.splitlines())


def test_a_full_disk_under_the_log_is_told_and_ends_nothing(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    words = ("--log-file", "/dev/full", "--put-aside", str(tmp_path / "aside"))
    ran = run_keyferry(*at(source), "replicate", *at(target), *words)
    assert ran.code == 1
    assert ran.err.count("warning: --log-file /dev/full: No space left on device") == 1


def test_a_file_that_cannot_be_written_is_wrong_usage(pair: tuple[Server, Server], tmp_path: Path) -> None:
    ran = run_keyferry(*at(pair[0]), "replicate", *at(pair[1]), "--log-file", str(tmp_path / "none" / "log"))
    assert (ran.code, ran.out) == (2, "")
    assert "No such file or directory" in ran.err


# -- stderr and stdout ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["KEYFERRY 2>/dev/full", "PYTHONIOENCODING=ascii KEYFERRY"])
def test_an_output_that_takes_not_everything_does_not_end_the_job(line: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 100)
    ran = shell(line, *at(source), "replicate", *at(target))
    assert ran.code == 0, ran.err
    assert "copy            100 keys" in ran.out and target.call("DBSIZE") == 100


@pytest.mark.parametrize("words", [(), ("--json",), ("-q",)])
def test_a_result_that_a_full_disk_does_not_take_is_told(words: tuple[str, ...], server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 100)
    ran = shell("KEYFERRY >/dev/full", *at(source), "replicate", *at(target), *words)
    assert ran.code == 5, ran.err
    assert "error: the result could not be written to stdout: No space left on device\n" in ran.err
    assert target.call("DBSIZE") == 100


def test_status_is_asked_for_as_often_as_one_likes(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 1_000)
    with Proxy(target, Slow(0.02)) as proxy:
        with start_keyferry(*at(source), "replicate", *at(proxy), "--batch", "20", "-d") as run:
            run.wait_for_text("copy begins")
            while run.running:
                run.signal(signal.SIGUSR1)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert ran.err.count(" keys/s") > 1


def test_quiet_shows_no_progress_whatever_its_form(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 100)
    for how in ("bar", "log", "json"):
        assert copied(source, target, "-q", "--progress", how).err == ""
