"""Runs that change settings of a server, and what becomes of these."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .commands import at
from .paces import SLOWLY, wait_for_keys
from .processes import Result, Run, guard_pids, run_keyferry, start_keyferry
from .servers import Server

#: The option that changes one.
OFF = ("--source-rdbcompression", "off")
#: Enough for a copy that is stopped half-way.
KEYS = 20_000


class State:
    """The folder of undo files of the commands that are given its environment."""

    def __init__(self, folder: Path) -> None:
        self.env = {"XDG_STATE_HOME": str(folder)}
        self.folder = folder / "keyferry" / "undo"

    @property
    def files(self) -> list[Path]:
        """All that lies there."""
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def run(self, *words: str) -> Result:
        """Run a command to its end."""
        return run_keyferry(*words, env=self.env)

    @contextmanager
    def copying(self, source: Server, target: Server, pace: tuple[str, ...] = SLOWLY) -> Iterator[Run]:
        """A copy without compression that has begun to write, and has a while to go."""
        words = (*at(source), "replicate", *at(target), *pace, *OFF)
        with start_keyferry(*words, env=self.env) as run:
            wait_for_keys(target, run)
            assert compression(source) == "no"
            assert len(self.files) == 1
            yield run

    def killed(self, source: Server, target: Server) -> None:
        """A copy, all of whose processes are killed at once, the guard first."""
        with self.copying(source, target) as run:
            for pid in guard_pids(run.pid):
                os.kill(pid, signal.SIGKILL)
            run.end()
        assert compression(source) == "no"
        assert len(self.files) == 1

    def is_as_before(self, source: Server) -> None:
        """Fail unless the value is back, and its file gone, within a while."""
        deadline = time.monotonic() + 20
        while (compression(source) != "yes" or self.files) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (compression(source), self.files) == ("yes", [])


def compression(server: Server) -> str:
    """The server's rdbcompression as it is now."""
    return str(server.call("CONFIG", "GET", "rdbcompression")[1].decode())
