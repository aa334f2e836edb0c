"""How a run is watched: a bar on a terminal, plain lines elsewhere, JSON for programs, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from .coordinator import State
from .logs import NOTICE, Log, on_terminal
from .text import printable, rounded, seconds_text, size_text

#: A plain line so often; a bar and JSON more often.
LINE_S, BAR_S, JSON_S = 10.0, 0.2, 1.0
#: No time left is told before this share is done: it would be a guess.
MIN_SHARE = 0.01


class Display(Protocol):
    """What shows progress."""

    def tick(self, state: State) -> None:
        """Show a state, if it is time to."""

    def close(self) -> None:
        """The phase is over."""


def display(how: str, phase: str, log: Log) -> Display:
    """The display for --progress `how`; `auto` is a bar on a terminal and lines elsewhere; -q shows none."""
    if log.level < NOTICE or how == "none":
        return Nothing()
    if how == "auto":
        how = "bar" if on_terminal() and log.form == "text" else "log"
    kinds: dict[str, Callable[[str, Log], Display]] = {"bar": Bar, "log": Lines, "json": Json}
    return kinds[how](phase, log)


class Nothing:
    """Shows nothing."""

    def tick(self, state: State) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """A plain line at the start, then every ten seconds."""

    def __init__(self, phase: str, log: Log) -> None:
        self.phase, self.log = phase, log
        self.due_at = time.monotonic() + LINE_S
        log.notice(f"{phase} begins")

    def tick(self, state: State) -> None:
        """A line, if one is due; a reason for waiting is told as soon as it is known."""
        if time.monotonic() >= self.due_at:
            self.due_at = time.monotonic() + LINE_S
            self.log.notice(status_line(self.phase, state))

    def close(self) -> None:
        """Nothing: the closing table follows."""


class Json:
    """An object a second on stderr."""

    def __init__(self, phase: str, log: Log) -> None:
        self.phase, self.log = phase, log
        self.due_at = 0.0

    def tick(self, state: State) -> None:
        """An object, if one is due."""
        if time.monotonic() >= self.due_at:
            self.due_at = time.monotonic() + JSON_S
            self.log.above(json.dumps({"phase": self.phase, **fields(state)}))

    def close(self) -> None:
        """Nothing: the result follows on stdout."""


class Bar:
    """tqdm's bar, with the reason when it is slow; log lines scroll above it."""

    def __init__(self, phase: str, log: Log) -> None:
        from tqdm import tqdm

        self.phase, self.log, self._plain = phase, log, log.above
        self._tqdm: Any = tqdm
        self._bar: Any = None
        log.above = self._above

    def tick(self, state: State) -> None:
        """Move the bar."""
        if self._bar is None:
            self._bar = self._tqdm(
                total=state.keys_total or None,
                desc=self.phase,
                unit=" keys",
                unit_scale=True,
                dynamic_ncols=True,
                mininterval=BAR_S,
                file=sys.stderr,
                leave=False,
            )
        # 100 % only when everything is acknowledged: the total is an estimate until then.
        self._bar.total = max(self._bar.total or 0, state.counts.read + (state.ranges_done < state.ranges)) or None
        self._bar.set_postfix_str(printable(postfix(state)), refresh=False)
        self._bar.update(state.counts.read - self._bar.n)
        self._bar.refresh()

    def _above(self, line: str) -> None:
        if self._bar is None:
            self._plain(line)
        else:
            self._bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        self.log.above = self._plain


def postfix(state: State) -> str:
    """Bytes a second, and why it is slow when it is."""
    rate = size_text(state.counts.bytes / max(state.seconds, 0.001)) + "/s"
    return ", ".join([rate, *why_slow(state)])


def why_slow(state: State) -> list[str]:
    """The reason why a run is slow, as one text or none; a server's state is a better one than our own limits."""
    if state.waiting:
        return [f"waiting: {state.waiting}"]
    return [f"throttled: {state.throttled}"] if state.throttled else []


def fields(state: State) -> dict[str, object]:
    """A state for programs."""
    return {
        "seconds": round(state.seconds, 3),
        "keys": state.counts.read,
        "keys_total": state.keys_total,
        "bytes": state.counts.bytes,
        "ranges_done": state.ranges_done,
        "ranges": state.ranges,
        "workers": state.workers,
        "waiting": state.waiting,
        "throttled": state.throttled,
    }


def status_line(phase: str, state: State) -> str:
    """A state as a line: share, keys, rate, bytes, time left, reason."""
    seconds = max(state.seconds, 0.001)
    done, total = state.counts.read, max(state.keys_total, state.counts.read)
    share = done / total if total else 0.0
    if state.ranges_done < state.ranges:
        share = min(share, 0.999)
    parts = [
        f"{phase:<8}",
        f"{100 * share:5.1f} %",
        f"{done:,} of {rounded(total)} keys",
        f"{done / seconds:,.0f} keys/s",
        f"{size_text(state.counts.bytes / seconds)}/s",
    ]
    if MIN_SHARE <= share < 1:
        parts.append(f"{seconds_text(seconds * (1 - share) / share)} left")
    return "  ".join(parts + why_slow(state))
