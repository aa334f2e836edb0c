"""A terminal of ours: runs the real command on a pty, and keeps the screen as a user would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pyte

from .processes import Result, Run, start_command

#: The leader of a new session gets the first terminal that it opens as its own. argv: terminal, whether it is ignored
#: that the terminal hangs up (as nohup has it), words of the command.
ON_TERMINAL = """
import os, runpy, signal, sys
terminal, nohup = os.open(sys.argv.pop(1), os.O_RDWR), sys.argv.pop(1)
os.dup2(terminal, 2)
os.close(terminal)
if nohup == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
runpy.run_module("keyferry", run_name="__main__", alter_sys=True)
"""


class Terminal:
    """`with Terminal(*words) as terminal:` runs keyferry with stderr on a screen of `columns`; stdout is kept apart."""

    run: Run

    def __init__(self, *words: str, columns: int = 80, rows: int = 24, nohup: bool = False) -> None:
        self._words, self._nohup = words, nohup
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self._master, self._slave = pty.openpty()
        self._set_size(columns)
        self._hung_up = False
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        nohup = "nohup" if self._nohup else "plain"
        name = os.ttyname(self._slave)
        self.run = start_command(
            sys.executable, "-c", ON_TERMINAL, name, nohup, *self._words, env={"TERM": "xterm"}
        ).__enter__()
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        self.run.__exit__(kind, value, _)
        self.hang_up()

    @property
    def lines(self) -> list[str]:
        """The screen's lines now, those that have scrolled off included, without empty ones and blanks at ends."""
        with self._lock:
            history = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
            return [line.rstrip() for line in [*history, *self.screen.display] if line.strip()]

    def wait_for(self, seen: Callable[[list[str]], object], timeout: float = 60) -> list[str]:
        """The lines as soon as `seen(lines)` holds; fails the test with the screen after so many seconds."""
        deadline = time.monotonic() + timeout
        while not seen(lines := self.lines):
            assert time.monotonic() < deadline and self.run.running, "\n".join(["never seen on:", *lines])
            time.sleep(0.01)
        return lines

    def resize(self, columns: int) -> None:
        """Give the window another width."""
        with self._lock:
            self._set_size(columns)
            self.screen.resize(columns=columns)

    def hang_up(self) -> None:
        """Close the terminal's window."""
        if not self._hung_up:
            self._hung_up = True
            self._reader.join()
            os.close(self._slave)

    def ended(self) -> tuple[Result, list[str]]:
        """The result of the run, and the lines that it leaves on the screen."""
        ran = self.run.wait()
        while select.select([self._master], [], [], 0.1)[0]:
            time.sleep(0.01)
        return ran, self.lines

    def _set_size(self, columns: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", self.screen.lines, columns, 0, 0))

    def _read(self) -> None:
        while not self._hung_up:
            if select.select([self._master], [], [], 0.02)[0]:
                with self._lock:
                    self._stream.feed(os.read(self._master, 1 << 16))
        os.close(self._master)
