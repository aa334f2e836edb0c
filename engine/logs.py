"""What a run says on stderr, and in --log-file: one line a message, as text or as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO

from .text import printable
from .workers.errors import KeyferryError, UsageError

ERROR, WARNING, NOTICE, INFO, DEBUG = range(5)
#: On a terminal: red and yellow.
COLORS = {ERROR: "\x1b[31m", WARNING: "\x1b[33m"}
NAMES = ("error", "warning", "notice", "info", "debug")


def on_terminal() -> bool:
    """Whether stderr is there, and is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


class Log:
    """Messages up to `level`. `above` prints a line without disturbing a progress bar below it."""

    def __init__(self, level: int = NOTICE, form: str = "text", path: str = "", color: bool = True) -> None:
        self.level, self.form = level, form
        self.color = color and form == "text" and on_terminal() and not os.environ.get("NO_COLOR")
        self.above: Callable[[str], None] = self._print
        self._file: IO[str] | None = None
        if path:
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            except OSError as error:
                hint = "name a file in a folder that you may write to"
                raise UsageError(f"--log-file {path}: {error.strerror}", hint=hint) from None
            self._file = os.fdopen(handle, "a", encoding="utf-8")

    def error(self, error: KeyferryError) -> None:
        """An error and its hint: a line each."""
        self._say(ERROR, f"error: {error}", side=error.side, address=error.address, hint=error.hint)
        if error.hint and self.form == "text":
            self._say(ERROR, f"hint: {error.hint}")

    def warning(self, text: str) -> None:
        """Something that the user should know, and that ends nothing."""
        self._say(WARNING, f"warning: {text}")

    def notice(self, text: str) -> None:
        """What is happening; shown unless -q."""
        self._say(NOTICE, text)

    def info(self, text: str) -> None:
        """Shown with -i."""
        self._say(INFO, text)

    def debug(self, text: str) -> None:
        """Shown with -d; may be several lines."""
        for line in text.splitlines():
            self._say(DEBUG, line)

    def _say(self, level: int, text: str, **more: str) -> None:
        if level > self.level:
            return
        text = printable(text)
        line = text if self.form == "text" else _as_json(level, text, more)
        self.above(f"{COLORS[level]}{line}\x1b[0m" if self.color and level in COLORS else line)
        if self._file is not None:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z ") if self.form == "text" else ""
            with contextlib.suppress(OSError):
                self._file.write(stamp + line + "\n")
                self._file.flush()

    def _print(self, line: str) -> None:
        # A lost terminal does not end the job.
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def _as_json(level: int, text: str, more: dict[str, str]) -> str:
    record = {"time": round(time.time(), 3), "level": NAMES[level], "message": text}
    return json.dumps(record | {name: value for name, value in more.items() if value})
