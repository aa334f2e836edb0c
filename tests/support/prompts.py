"""A command whose stderr is a terminal, and a user who types what it asks for."""

from __future__ import annotations

import os
import pty
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from .processes import Result, Run, start_command

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
