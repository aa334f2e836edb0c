"""Settings that servers have for the length of a run: our end of the guard's pipe (guard.py)."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, Self

from . import undo, undofile
from .logs import Log
from .partitioners.control import Control
from .signals import ENDING, Ended
from .undo import Wanted
from .undofile import Held
from .workers.endpoint import Endpoint
from .workers.errors import AccessError

#: The guard may take so long to start and to change one setting: what it does itself takes at most half of it.
CHANGE_S = 40.0
#: At the end, we wait so long for the guard. It goes on without us.
CLOSE_S = 5.0
#: … but only so long after a second signal.
AT_ONCE_S = 1.0


class Settings:
    """Within `with`, `change` gives servers settings; at its end they are put back, and that is said.

    Nothing is started before the first change. Whatever ends this process closes the pipe, and the guard does the rest.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self._guard: subprocess.Popen[bytes] | None = None
        self._orders = 0
        self._changed: dict[int, tuple[Endpoint, str, Wanted]] = {}  # by the number of the order
        self._shares: list[Held] = []  # of undo files: whoever kills the guard has not ended the run

    def __enter__(self) -> Self:
        return self

    def change(self, where: Endpoint, side: str, wanted: Wanted) -> None:
        """Let a setting have a value until the end. Where it has not, a warning says why, and ends nothing."""
        if wanted.joins and not undofile.is_there(wanted.run_id, wanted.setting):
            return
        what = f"{side} {where.address} {wanted.setting}"
        try:
            answer = self._ask({"endpoint": where.pack(), "side": side, "wanted": vars(wanted)})
        except OSError as error:
            answer = {"kept": True, "why": f"its guard process failed: {error}"}
        if answer["kept"]:
            self._changed[self._orders] = where, side, wanted
            self._share(wanted)
        self._tell(what, wanted.value, answer)

    def _share(self, wanted: Wanted) -> None:
        with contextlib.suppress(OSError):
            held = undofile.share(wanted.run_id, wanted.setting)
            self._shares += [held] if held else []

    def _tell(self, what: str, value: str, answer: dict[str, Any]) -> None:
        kept, why = answer["kept"], answer["why"]
        if kept and why:
            self.log.warning(f"{what} may be changed to {value}, and is put back at the end of this run: {why}")
        elif kept:
            self.log.notice(f"{what} is {value} until the end of this run; it was {answer['old']}")
        elif why:
            self.log.warning(f"{what} is not changed to {value}: {why}")
        else:
            self.log.info(f"{what} is {value} anyway")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for held in self._shares:
            held.close()
        if self._guard is not None:
            assert self._guard.stdin is not None and self._guard.stdout is not None
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
            self._hear_the_end(self._guard.stdout, AT_ONCE_S if kind is Ended else CLOSE_S)
            self._guard.stdout.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """What the guard says of an order. Raises OSError where it does not; it may have obeyed, or do so later."""
        self._orders += 1
        if self._guard is None:
            self._guard = _start()
        assert self._guard.stdin is not None and self._guard.stdout is not None
        self._guard.stdin.write(json.dumps({"number": self._orders, **order}).encode() + b"\n")
        for number, change in _said(self._guard.stdout, "change", time.monotonic() + CHANGE_S):
            if number == self._orders:
                return change
        raise OSError("it gave no answer")

    def _hear_the_end(self, answers: IO[bytes], patience_s: float) -> None:
        """Tell what became of each change; put back ourselves what the guard left, if it was killed."""
        assert self._guard is not None
        deadline = time.monotonic() + patience_s
        left = dict(self._changed)
        for number, outcome in _said(answers, "outcome", deadline) if left else ():
            undo.tell([undo.Outcome(**outcome)], self.log)
            left.pop(number, None)
            if not left:
                break
        for where, side, wanted in left.values():
            if time.monotonic() < deadline:
                self._put_back(where, side)
            else:
                self.log.warning(
                    f"{side} {where.address} {wanted.setting} is not put back yet: process {self._guard.pid} goes on "
                    "trying for a minute, and after that every keyferry that reaches the server"
                )
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(max(0.0, deadline - time.monotonic()))

    def _put_back(self, where: Endpoint, side: str) -> None:
        control = Control(where, side)
        try:
            control.open()
            undo.tell(undo.left_behind(control, undo.run_id_of(control), may_change=True), self.log)
        except AccessError as error:
            self.log.warning(f"a setting was not put back: {error}")
        finally:
            control.close()


def _start() -> subprocess.Popen[bytes]:
    """The guard, with our signals blocked from its first moment on; -P: the folder we were started in has no say."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "keyferry.guard"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            bufsize=0, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _said(answers: IO[bytes], what: str, deadline: float) -> Iterator[tuple[int, dict[str, Any]]]:
    """What the guard says of that kind, with the numbers of orders, until it is gone or the deadline has passed."""
    while line := _line(answers, deadline):
        told = json.loads(line)
        if what in told:
            yield told["number"], told[what]


def _line(answers: IO[bytes], deadline: float) -> bytes:
    """The next whole line, b'' when the guard is gone or says nothing until the deadline."""
    line = b""
    poll = select.poll()
    poll.register(answers, select.POLLIN)
    while not line.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return b""
        if not (byte := answers.read(1)):
            return b""
        line += byte
    return line
