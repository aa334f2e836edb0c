"""Where workers run: processes of this machine.

It gives seats, and a seat is all that the coordinator knows of a worker: send, receive, join, kill. Workers are forked
from the fork server (`forkserver.py`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

from . import forkserver
from .workers.feed_task import FeedOrder, FeedReport, FeedSetup
from .workers.news import Report
from .workers.pipe import Pipe, waiting
from .workers.setup import Order, Setup
from .workers.start import serve, serve_feed

#: A worker that takes no order for so long, or stops in the midst of a report, is treated as dead.
PATIENCE_S = 10.0
#: The start of a process takes so many open files at most, of which it keeps two.
START_HANDLES = 12
#: To start a process changes what all threads share, for a moment: the environment, the main module.
_one_at_a_time = threading.Lock()


class Seat:
    """One worker, wherever it runs."""

    def __init__(self, pipe: Pipe, process: Any) -> None:
        self.pipe, self.process = pipe, process

    def send(self, order: Order | FeedOrder) -> bool:
        """Give an order; False when it is not taken.

        One that is gone is noticed when we listen, behind what it has said before: that may be why the run has to end.
        """
        try:
            self.pipe.send(order.pack())
        except OSError as error:
            return not isinstance(error, TimeoutError)
        return True

    def receive(self) -> Report | None:
        """The next report; None when the worker is gone."""
        try:
            return Report.unpack(self.pipe.receive())
        except (EOFError, OSError):
            return None

    def join(self, timeout_s: float) -> None:
        """Wait for the worker's end."""
        self.process.join(timeout_s)

    def kill(self) -> None:
        """End a worker at once and wait until it is gone: nothing that it holds can be sent afterwards."""
        if self.process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(PATIENCE_S)

    def close(self) -> None:
        """Give the pipe back."""
        self.pipe.close()


class FeedSeat(Seat):
    """The feed process. It speaks only when it is asked: one report for each ask."""

    def receive(self) -> FeedReport | None:  # type: ignore[override]
        """The report asked for; None when the process is gone."""
        try:
            return FeedReport.unpack(self.pipe.receive())
        except (EOFError, OSError):
            return None

    def has_report(self, timeout_s: float = 0.0) -> bool:
        """Whether `receive` would not wait."""
        return bool(waiting([self.pipe], timeout_s))


class LocalProcesses:
    """Workers as processes of this machine."""

    def launch(self, setup: Setup) -> Seat:
        """Start a worker and give it its setup."""
        return Seat(*_started(serve, f"keyferry-{setup.epoch}", setup.pack()))

    def launch_feed(self, setup: FeedSetup) -> FeedSeat:
        """Start the feed and give it its setup."""
        return FeedSeat(*_started(serve_feed, "keyferry-feed", setup.pack()))


def _started(target: Callable[[Any], None], name: str, setup: bytes) -> tuple[Pipe, Any]:
    """Our end of the pipe to a new process, and the process. Raises RunError where the system gives none."""
    with forkserver.refused_by_the_system():
        _look_for_room()
        ours, theirs = socket.socketpair()
        with _one_at_a_time:
            context = forkserver.begin()
            process = context.Process(target=target, args=(theirs,), name=name, daemon=True)
            with _no_main_module():
                process.start()
    theirs.close()
    pipe = Pipe(ours, PATIENCE_S)
    with contextlib.suppress(OSError):  # it may be dead already; the first wait for its report will tell
        pipe.send(setup)
    return pipe, process


def _look_for_room() -> None:
    """Raise OSError where the files that may be open are too few for a process more.

    Were they to run out in the midst of its start, the fork server would be left with half an order, and end by it.
    """
    handles: list[int] = []
    try:
        while len(handles) < START_HANDLES:
            handles += os.pipe()
    finally:
        for handle in handles:
            os.close(handle)


def wait_for_reports(seats: list[Seat], timeout_s: float) -> list[Seat]:
    """The seats that have a report, or have died; waits no longer than the time-out."""
    ready = waiting([seat.pipe for seat in seats], timeout_s)
    return [seat for seat in seats if seat.pipe in ready]


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Start a process that does not import the caller's main script again: our workers need nothing of it.

    A script that calls `keyferry.replicate` without `if __name__ == "__main__"` would otherwise run twice.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
