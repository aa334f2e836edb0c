"""What a run says on stderr, and in --log-file: one line a message, as text or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from .output import say_message
from .text import printable
from .workers.errors import KeyferryError, UsageError

ERROR, WARNING, NOTICE, INFO, DEBUG = range(5)
#: On a terminal: red and yellow.
COLORS = {ERROR: "\x1b[31m", WARNING: "\x1b[33m"}
NAMES = ("error", "warning", "notice", "info", "debug")
#: Levels that a line of text begins with.
_PREFIXES = {ERROR: "error: ", WARNING: "warning: "}


def on_terminal() -> bool:
    """Whether stderr is there, and is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def now_text() -> str:
    """This moment as RFC 3339 has it, in UTC with milliseconds: `2026-11-22T21:51:09.123Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Log:
    """Messages up to `level`. `above` prints a line without disturbing a progress bar below it.

    A message may have fields (`side`, `address`, `db`, `key`, …), which only JSON shows: its text says the same.
    """

    def __init__(self, level: int = NOTICE, form: str = "text", path: str = "", color: bool = True) -> None:
        self.level, self.form = level, form
        self.color = color and form == "text" and on_terminal() and not os.environ.get("NO_COLOR")
        self.above: Callable[[str], None] = say_message
        self._file = LogFile(path, self.warning) if path else None

    def error(self, error: KeyferryError) -> None:
        """An error and its hint: a line each."""
        self._say(ERROR, str(error), error.hint, side=error.side, address=error.address)

    def warning(self, text: str, hint: str = "", **fields: object) -> None:
        """Something that the user should know, and that ends nothing."""
        self._say(WARNING, text, hint, **fields)

    def notice(self, text: str, **fields: object) -> None:
        """What is happening; shown unless -q."""
        self._say(NOTICE, text, "", **fields)

    def info(self, text: str, **fields: object) -> None:
        """Shown with -i."""
        self._say(INFO, text, "", **fields)

    def debug(self, text: str) -> None:
        """Shown with -d; may be several lines."""
        for line in text.splitlines():
            self._say(DEBUG, line)

    def line(self, text: str) -> None:
        """A line as it is, whatever the level and the form; it must hold no control character."""
        self.above(text)
        if self._file:
            self._file.add(text)

    def _say(self, level: int, text: str, hint: str = "", **fields: object) -> None:
        if level > self.level:
            return
        if self.form == "json":
            return self.line(_as_json(level, printable(text), fields | {"hint": hint}))
        self._print(level, _PREFIXES.get(level, "") + printable(text))
        if hint:
            self._print(level, f"hint: {printable(hint)}")

    def _print(self, level: int, line: str) -> None:
        """A line of text: in its colour, and in the file with the time instead."""
        self.above(f"{COLORS[level]}{line}\x1b[0m" if self.color and level in COLORS else line)
        if self._file:
            self._file.add(f"{now_text()} {line}")

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file:
            self._file.close()


class LogFile:
    """Appends lines to a file that only its owner may read. A disk that takes none is told once, and ends nothing."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self.path, self._warn, self._told = path, warn, False
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            hint = "name a file in a folder that you may write to"
            raise UsageError(f"--log-file {path}: {error.strerror}", hint=hint) from None

    def add(self, line: str) -> None:
        """Append one line, at once: what was said before a crash is in the file."""
        try:
            os.write(self._handle, f"{line}\n".encode(errors="backslashreplace"))
        except OSError as error:
            if not self._told:
                self._told = True
                self._warn(f"--log-file {self.path}: {error.strerror}: some lines are missing in it")

    def close(self) -> None:
        """Give the file back."""
        os.close(self._handle)


def _as_json(level: int, text: str, fields: dict[str, object]) -> str:
    told = {name: value for name, value in fields.items() if value not in ("", None)}
    return json.dumps({"time": now_text(), "level": NAMES[level], "message": text} | told)
