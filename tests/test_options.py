"""Every row of the options table has a test of what it does, in one of the files that share the helpers below.

A test names its rows by `@pytest.mark.covers("batch")`, and fails when the option is parsed but has no effect.
"""

from __future__ import annotations

import importlib
import os
import pty
import sys
import termios
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from keyferry.options import OPTIONS
from tests.support.compare import all_keys
from tests.support.monitor import Executed
from tests.support.processes import Result, Run, run_keyferry, start_command
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server

#: Commands that write a key, as the product sends them.
WRITES = (b"MSET", b"SET", b"RESTORE")


def test_every_row_of_the_table_has_a_test_of_its_effect() -> None:
    covered = covering_tests()
    assert sorted(row.name for row in OPTIONS if row.name not in covered) == []


def test_tests_cover_only_rows_that_exist() -> None:
    assert sorted(covering_tests().keys() - {row.name for row in OPTIONS}) == []


def covering_tests() -> dict[str, list[str]]:
    """The names of the tests that cover each row, by the row's name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if "mark.covers(" in path.read_text():
            module = importlib.import_module(f"tests.{path.stem}")
            for name, test in vars(module).items():
                marks = getattr(test, "pytestmark", []) if name.startswith("test_") else []
                for row in (row for mark in marks if mark.name == "covers" for row in mark.args):
                    found[row].append(name)
    return found


# -- servers and their data ---------------------------------------------------------------------------------------


def at(server: Server | Proxy) -> tuple[str, str]:
    """The words that name a server."""
    return "-p", str(server.port)


def write_strings(server: Server, count: int, size: int = 20, *, db: int = 0, prefix: str = "key:") -> None:
    """Plain strings without an expiry."""
    with server.connect(db) as connection:
        connection.pipeline(("SET", f"{prefix}{number}", b"v" * size) for number in range(count))


def keyspace(server: Server) -> dict[int, set[bytes]]:
    """The keys of each database that holds any."""
    return {int(name[2:]): all_keys(server, int(name[2:])) for name in server.info("keyspace") if name[:2] == "db"}


# -- runs ---------------------------------------------------------------------------------------------------------


def copied(source: Server | Proxy, target: Server | Proxy, *options: str, cwd: str | None = None) -> Result:
    """A copy that must end well."""
    ran = run_keyferry(*at(source), "replicate", *at(target), *options, cwd=cwd)
    assert ran.code == 0, ran.err
    return ran


#: The leader of a new session gets the first terminal that it opens as its own.
TERMINAL = """
import os, runpy, sys
terminal = os.open(sys.argv.pop(1), os.O_RDWR)
os.dup2(terminal, 2)
runpy.run_module("keyferry", run_name="__main__", alter_sys=True)
"""


def at_a_terminal(
    *words: str,
    typed: Iterable[str] = (),
    kind: str = "xterm",
    columns: int = 80,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    meanwhile: Callable[[Run], None] = lambda run: None,
) -> tuple[Result, str]:
    """Run a command line whose stderr is a terminal of a kind; the result, and all that the terminal was sent.

    Each text of `typed` is typed when a password is asked for; `meanwhile` is called after that.
    """
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24 if columns else 0, columns))
    screen: list[str] = []
    reader = threading.Thread(target=_read, args=(master, screen))
    reader.start()
    try:
        environ = {"TERM": kind, **(env or {})}
        with start_command(sys.executable, "-c", TERMINAL, os.ttyname(slave), *words, env=environ, input=input) as run:
            for number, text in enumerate(typed, 1):
                _wait_for_prompts(run, screen, number)
                os.write(master, text.encode(errors="surrogateescape") + b"\n")
            meanwhile(run)
            ran = run.wait()
    finally:
        os.close(slave)  # with its last writer gone, the reader comes to the end
        reader.join()
        os.close(master)
    return ran, "".join(screen)


def _wait_for_prompts(run: Run, screen: list[str], count: int) -> None:
    deadline = time.monotonic() + 60
    while "".join(screen).count("Password of") < count:
        assert run.running and time.monotonic() < deadline, f"no prompt: {screen}"
        time.sleep(0.01)


def _read(master: int, screen: list[str]) -> None:
    try:
        while chunk := os.read(master, 1 << 16):
            screen.append(chunk.decode(errors="replace"))
    except OSError:  # how a terminal tells its end
        return


# -- between the command and a server -----------------------------------------------------------------------------


def is_write(args: Args) -> bool:
    """Whether a command writes a key; the writes that only ask for permission do not count."""
    return args[0].upper() in WRITES and not args[1].startswith(b"keyferry:")


class At(Hooks):
    """Does something once, when the command with this number arrives among those that `counts` picks."""

    def __init__(self, number: int, act: Callable[[], object], counts: Callable[[Args], bool] = is_write) -> None:
        self._left, self._act, self._counts = number, act, counts

    def on_command(self, args: Args) -> Answer:
        if self._counts(args):
            self._left -= 1
            if self._left == 0:
                self._act()
        return args


class Slow(Hooks):
    """Every write takes so many seconds, as long as that is not changed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_command(self, args: Args) -> Answer:
        if is_write(args):
            time.sleep(self.seconds)
        return args


def connection_names(commands: Iterable[Executed]) -> set[bytes]:
    """The names that connections were given."""
    return {one.args[2] for one in commands if one.name == "CLIENT" and one.args[1].upper() == b"SETNAME"}
