"""A writer beside a demo's copy: `keyferry generate --churn` in a process of its own, as a user would start it.

WHAT HAPPENS IF the demo is killed: its servers end with it, and the writer with its server, for it does not wait for
one that is gone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Self

from .companion import ended_unless_up, wait_until_up
from .environment import without_options
from .workers.errors import RunError

#: What the command prints when its first change is on its way.
BEGUN = b"churn begins"
#: How long its start may take. It takes half a second; this is for a machine under load.
START_S = 20.0
#: How long its end may take once its time is over, or once it was told to end.
STOP_S = 10.0


class Writer:
    """Within `with` it changes keys: it has begun on entering, and is ended on leaving.

    `options` follow `keyferry generate`; `stop()` is called while it starts, and may raise.
    """

    def __init__(self, options: list[str], stop: Callable[[], None] = lambda: None) -> None:
        self._words = [
            sys.executable,
            "-P",
            "-m",
            "keyferry",
            "generate",
            *options,
            "--churn-only",
            "--retry-for",
            "0s",
        ]
        self._stop = stop
        self._said = b""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=without_options(os.environ),
        )
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        with ended_unless_up(self._end, self._failed):
            wait_until_up(self._process, self._has_begun, self._all_said, self._stop, START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def table(self) -> list[str]:
        """Wait for its end; the lines of its closing table. Raises RunError where it has failed."""
        try:
            out, rest = self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            raise self._failed(f"it did not end within {STOP_S:g} s") from None
        if self._process.returncode:
            raise self._failed((self._said + rest).decode(errors="replace").strip())
        return out.decode().splitlines()

    def _has_begun(self) -> bool:
        return BEGUN in self._read()

    def _all_said(self) -> str:
        return self._read().decode(errors="replace").strip()

    def _read(self) -> bytes:
        """What it has said on stderr so far."""
        assert self._process.stderr is not None
        with contextlib.suppress(BlockingIOError):
            self._said += os.read(self._process.stderr.fileno(), 1 << 16)
        return self._said

    def _failed(self, why: str) -> RunError:
        return RunError(f"the writer failed: {why}", side="source")

    def _end(self) -> None:
        """End it, if it has not ended by itself."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its workers end when its pipes close; they are not waited for
            self._process.wait(STOP_S)
