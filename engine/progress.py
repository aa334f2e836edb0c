"""How a run is watched: a bar on a terminal, plain lines elsewhere, JSON for programs, or nothing."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from .figures import Figures, Watch
from .logs import NOTICE, Log, now_text, on_terminal
from .output import LastingStderr
from .state import State
from .text import count_text, size_text

#: A plain line so often; a bar and JSON more often.
LINE_S, BAR_S, JSON_S = 10.0, 0.2, 1.0
#: A new reason is told by a plain line of its own, but not sooner than this after the last line.
REASON_S = 1.0


class Display:
    """Shows one phase: nothing by itself. `asked()` tells whether the user wants the status line now."""

    every_s: ClassVar[float] = 1e9

    def __init__(self, phase: str, log: Log, asked: Callable[[], bool]) -> None:
        self.phase, self.log, self.asked = phase, log, asked
        self.watch = Watch(phase)
        self.last: State | None = None
        self.due_at = time.monotonic()

    def tick(self, state: State) -> None:
        """Take in a state, and show it if it is time to. May be called as often as one likes."""
        self.last = state
        self.watch.note(state)
        if self.asked():
            self.tell(self.watch.figures(state))
        if time.monotonic() >= self.due_at:
            self.due_at = time.monotonic() + self.every_s
            self.show(self.watch.figures(state))

    def tell(self, figures: Figures) -> None:
        """The status line among the messages."""
        for line in figures.lines():
            self.log.notice(line)

    def show(self, figures: Figures) -> None:
        """What the display does every `every_s` seconds."""

    def close(self) -> None:
        """The phase is over."""


class Lines(Display):
    """A plain line at the start, then every ten seconds, and when there is a new reason for waiting."""

    every_s = REASON_S

    def __init__(self, phase: str, log: Log, asked: Callable[[], bool]) -> None:
        super().__init__(phase, log, asked)
        self.line_at = time.monotonic() + LINE_S
        self.reason = ""
        log.notice(f"{phase} begins")

    def show(self, figures: Figures) -> None:
        """A line, if one is due."""
        reason = re.sub(r"\d", "", figures.reason_line)  # another figure is no other reason
        if time.monotonic() >= self.line_at or (reason and reason != self.reason):
            self.line_at = time.monotonic() + LINE_S
            self.reason = reason
            self.tell(figures)


class Json(Display):
    """An object a second on stderr, and one at the end."""

    every_s = JSON_S

    def show(self, figures: Figures) -> None:
        """One object."""
        self.log.line(json.dumps({"time": now_text(), **figures.fields()}))

    def close(self) -> None:
        """The last figures."""
        if self.last:
            self.show(self.watch.figures(self.last))


class Bar(Display):
    """tqdm's bar, and below it the reason when it is slow. Messages scroll above it."""

    every_s = BAR_S

    def __init__(self, phase: str, log: Log, asked: Callable[[], bool]) -> None:
        super().__init__(phase, log, asked)
        self.terminal = LastingStderr()
        self._bar: Any = None
        self._below: Any = None
        self._plain = log.above
        log.above = self._above

    def show(self, figures: Figures) -> None:
        """Draw the bar anew, at the terminal's width of this moment."""
        if self._bar is None:
            self._bar = self._made(0)
        self._bar.n = figures.share
        self._bar.bar_format = bar_format(figures)
        self._bar.refresh()
        self._show_reason(figures.below)

    def _show_reason(self, text: str) -> None:
        if text:
            self._below = self._below or self._made(1)
            self._below.bar_format = braced(text)
            self._below.refresh()
        elif self._below:
            self._below.close()
            self._below = None

    def _made(self, position: int) -> Any:
        # Imported when the workers are at work already: it takes longer than to start them.
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread that draws by itself
        tqdm.set_lock(threading.RLock())  # nor a lock for processes, as only this one draws
        return tqdm(total=1, position=position, bar_format=" ", dynamic_ncols=True, leave=False, file=self.terminal)

    def _above(self, line: str) -> None:
        if self._bar is None:
            self._plain(line)
        else:
            self._bar.write(line, file=self.terminal)

    def close(self) -> None:
        """Take the bar away."""
        self._show_reason("")
        if self._bar:
            self._bar.close()
            self._bar = None
        self.log.above = self._plain


def bar_format(figures: Figures) -> str:
    """The bar for tqdm, which makes `{bar}` as long as the terminal has room: a dozen columns of 80."""
    parts = [
        count_text(figures.keys) if figures.endless else f"{count_text(figures.keys)} of {figures.total_text}",
        f"{count_text(round(figures.keys_per_second))} {figures.unit}/s",
        f"{size_text(figures.bytes_per_second)}/s",
        figures.left_text,
    ]
    rest = "  ".join(part for part in parts if part)
    return f"{braced(figures.phase)} {100 * figures.share:5.1f} %|{{bar}}| {braced(rest)}"


def braced(text: str) -> str:
    """Text as it stands in a format of tqdm's."""
    return text.replace("{", "{{").replace("}", "}}")


KINDS: dict[str, type[Display]] = {"bar": Bar, "log": Lines, "json": Json, "none": Display}


def _columns() -> int:
    """How wide the terminal is; 0 where nobody knows."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


def display(how: str, phase: str, log: Log, asked: Callable[[], bool]) -> Display:
    """The display for --progress `how`; `auto` is a bar on a terminal and lines elsewhere; -q shows none."""
    if log.level < NOTICE:
        how = "none"
    elif how == "auto":
        # Some terminals do not know how wide they are: tqdm shows nothing there.
        can_draw = on_terminal() and os.environ.get("TERM") != "dumb" and _columns() > 0
        how = "bar" if can_draw and log.form == "text" else "log"
    return KINDS[how](phase, log, asked)
