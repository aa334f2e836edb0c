"""What a process of ours does from its beginning to its end, whatever its work is."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable
from typing import Protocol

from .errors import InternalError, told
from .pipe import Pipe

#: So many objects more than before have Python look for what refers to itself. Windows come and go by thousands of
#: tuples, and hardly anything of them does.
COLLECTED_AT = 10_000


class Job(Protocol):
    """The work of a process."""

    def run(self) -> None:
        """Until the coordinator wants no more of it."""

    def report_bug(self, bug: InternalError) -> None:
        """Tell the coordinator what has ended `run`."""

    def close(self) -> None:
        """Give everything back."""


def let_others_finish() -> None:
    """Wait for a turn where the processor is busy, instead of taking it from who has it: sched(7), SCHED_BATCH.

    A server of this machine then says more before we hear it, so that fewer calls bring the same bytes.
    """
    with contextlib.suppress(OSError):  # some containers forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def serve(pipe: Pipe, begin: Callable[[bytes], Job]) -> None:
    """The main function of a process: what it has to `begin` with comes first over the pipe, then orders."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A terminal signals the whole group; the coordinator decides, and tells us over the pipe.
        signal.signal(ignored, signal.SIG_IGN)
    gc.freeze()  # what is loaded stays for good, and need not be looked through
    gc.set_threshold(COLLECTED_AT)
    try:
        job = begin(pipe.receive())
    except (EOFError, OSError):
        return
    try:
        job.run()
    except Exception as error:
        job.report_bug(InternalError(told(error), hint="please report this with the command line"))
    finally:
        job.close()
