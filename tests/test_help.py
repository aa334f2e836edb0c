"""The help of every level, and how little a start loads."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from keyferry import given, help, options
from keyferry.grammar import parse
from keyferry.options import COMMAND_NAMES, COMMANDS
from keyferry.workers.errors import UsageError

LEVELS = ["", *(command.name for command in COMMANDS)]
HEAVY = {"redis", "hiredis", "tqdm", "multiprocessing", "msgpack", "argparse", "difflib", "logging"}


@pytest.mark.parametrize("level", LEVELS)
def test_help_fits_eighty_columns_and_a_page_or_so(level: str) -> None:
    lines = help.text(level).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert len(lines) <= 120
    assert help.text(level).isascii()


@pytest.mark.parametrize("command", LEVELS[1:])
def test_help_names_every_option_of_the_command_and_no_other(command: str) -> None:
    text = help.text(command)
    places = (options.GLOBAL, options.COMMAND) + (() if command == "demo" else (options.SIDE,))
    own = {row.name for row in options.options_of(command, *places)}
    for row in options.BY_NAME.values():
        listed = f"--{row.name} " in text or f"--{row.name}\n" in text or f"--{row.name}[" in text
        assert listed == (row.name in own), row.name


def test_the_overview_names_every_command() -> None:
    assert all(name in help.text() for name in COMMAND_NAMES)


@pytest.mark.parametrize("level", LEVELS)
def test_help_ends_with_examples(level: str) -> None:
    lines = help.text(level).splitlines()
    assert [line.strip() for line in lines[lines.index("Examples:") + 1 :]] == list(help.EXAMPLES[level])


@pytest.mark.parametrize("example", [line for lines in help.EXAMPLES.values() for line in lines])
def test_every_example_is_a_valid_command_line(example: str, tmp_path, monkeypatch) -> None:
    (tmp_path / "new.password").write_text("pw\n")
    (tmp_path / "new.password").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(example)
    assert program == "keyferry"
    if "--askpass" in words:  # without a terminal it gets as far as asking
        words.remove("--askpass")
    assert parse(words, {}).command or words == ["--help"]


def test_a_start_that_shows_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from keyferry import grammar, help\n"
        "found = grammar.parse(['replicate', '--help'], {})\n"
        "help.text(found.command); print(*{name.partition('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert HEAVY & set(ran.stdout.split()) == set()


def test_no_option_stands_in_the_table_before_it_works() -> None:
    later = "resume job"
    assert not set(later.split()) & set(options.BY_NAME)


def test_keywords_of_python_have_the_defaults_of_the_command_line() -> None:
    assert given.from_keywords("replicate") == parse(["replicate", "a", "b"], {}).options


def test_keywords_of_python_may_be_values_or_texts() -> None:
    found = given.from_keywords("replicate", wait_for="2m", dbs=[0, 3], workers=3, no_verify=True, ranges=64)
    assert (found["wait_for"], found["dbs"], found["workers"], found["no_verify"]) == (120.0, [0, 3], 3, True)
    assert given.from_keywords("replicate", wait_for=5, dbs="0,3")["dbs"] == [0, 3]
    assert given.from_keywords("replicate", silence_s=1.5, retry_for=2)["silence_s"] == 1.5


@pytest.mark.parametrize(
    "keywords",
    [
        {"nonsense": 1},
        {"keys": 5},
        {"workers": "many"},
        {"workers": True},
        {"dry_run": "yes"},
        {"wait_for": "60"},
        {"ranges": 0},
        {"dbs": "all", "db_map": {0: 1}},
        {"db_map": {0: 1, 2: 1}},
        {"quiet": True, "debug": True},
    ],
)
def test_keywords_of_python_are_checked_like_options(keywords: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        given.from_keywords("replicate", **keywords)
    assert any(name in str(caught.value) for name in keywords)
