"""Rules 6 and 7 of the command line: passwords and users."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.grammar import parse
from keyferry.options import BY_LETTER, BY_NAME, COMMAND_NAMES
from keyferry.workers.errors import UsageError
from tests.support.processes import start_command
from tests.support.prompts import at_a_terminal as typed_at_a_terminal
from tests.support.words import read, refusal


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


WORDS = st.lists(
    st.sampled_from([*COMMAND_NAMES, *(f"--{name}" for name in BY_NAME), *(f"-{letter}" for letter in BY_LETTER)])
    | st.text(max_size=6),
    max_size=6,
)
SECRET = st.text("qwzjkQWZJK%@:/?#[]&=", min_size=8, max_size=16).map(lambda text: "q" + text)


@given(
    SECRET,
    st.sampled_from(
        [
            "-a",
            "-a=",
            "--pass=",
            "-u redis://:{}@h",
            "redis://u:{}@h",
            "-u redis://{}@h",
            "-h redis://:{}@h",
            "-p redis://:{}@h",
            "KEYFERRY_PASS",
        ]
    ),
    WORDS,
)
def test_a_password_is_never_shown(secret: str, form: str, more: list[str]) -> None:
    more = [word for word in more if word not in ("-a", "--pass", "--askpass")]
    environ = {"KEYFERRY_PASS": secret} if form.startswith("KEYFERRY") else {}
    words = [] if environ else [part.format(secret) for part in form.split()] if "{}" in form else [form + secret]
    try:
        shown = repr(parse(["ping", *words, *more], environ))
    except UsageError as error:
        shown = f"{error} {error.hint} {error!r}"
    assert secret not in shown


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        ("-u redis://SECRET@a -u redis://SECRET2@b replicate c", {}),
        ("-u redis://SECRET@a --user bob replicate c", {}),
        ("ping redis://SECRET@a --user bob", {}),
        ("ping -h redis://:SECRET@a", {}),
        ("ping -p redis://:SECRET@a:6379", {}),
        ("ping", {"KEYFERRY_HOSTNAME": "redis://:SECRET@a"}),
        ("ping", {"KEYFERRY_HOSTNAME": "bob:SECRET@a"}),
        ("ping", {"KEYFERRY_ASKPASS": "SECRET"}),
    ],
)
def test_a_password_that_stands_in_the_wrong_place_is_not_shown(words: str, environ: dict[str, str]) -> None:
    """One word before the @ is the password to redis-cli; a URI is easily given where its host alone is asked for."""
    assert "SECRET" not in refusal(words, **environ)


def test_a_typed_password_that_is_no_text_is_wrong_usage() -> None:
    ran, screen = typed_at_a_terminal("ping", "--askpass", typed=["\udcff"])
    assert ran.code == 2, screen
    assert "error: 127.0.0.1:6379: the password is not UTF-8 text" in screen


def test_what_nobody_has_foreseen_is_told_as_our_bug_before_a_command_runs_too(tmp_path: Path) -> None:
    """A folder that is gone has no absolute path."""
    gone = tmp_path / "gone"
    code = f"import os, sys; os.rmdir({str(gone)!r}); from keyferry.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "ping", "-t", "--cacert", "ca.pem"]
    for more in ([], ["-d"]):
        gone.mkdir()
        with start_command(*words, *more, cwd=str(gone)) as run:
            ran = run.wait()
        assert ran.code == 70
        assert ("Traceback" in ran.err) == bool(more)
        assert [line.partition(": ")[0] for line in ran.err.splitlines()][-2:] == ["error", "hint"]
