"""A writer beside a demo's copy: `keyferry generate --churn` in a process of its own, as a user would start it.

WHAT HAPPENS IF the demo is killed: its servers end with it, and the writer with its server, for it does not wait for
one that is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Self

from .workers.errors import RunError

#: What the command prints when its first change is on its way.
BEGUN = b"churn begins"
#: How long its start may take. It takes half a second; this is for a machine under load.
START_S = 20.0
#: How long its end may take once its time is over, or once it was told to end.
STOP_S = 10.0
PAUSE_S = 0.02


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
            self._words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        try:
            self._wait_until_it_writes()
        except BaseException:
            self._end()
            raise
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

    def _wait_until_it_writes(self) -> None:
        deadline = time.monotonic() + START_S
        while BEGUN not in self._read():
            if self._process.poll() is not None and BEGUN not in self._read():
                self._stop()  # the signal that has ended it was for us as well
                raise self._failed(self._said.decode(errors="replace").strip())
            if time.monotonic() > deadline:
                raise self._failed(f"it did not begin within {START_S:g} s")
            self._stop()

    def _read(self) -> bytes:
        """What it has said on stderr so far."""
        assert self._process.stderr is not None
        if select.select([self._process.stderr], [], [], PAUSE_S)[0]:
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
            self._process.kill()
            self._process.communicate()
