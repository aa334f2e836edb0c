"""Copies so slow that they are not done before a test has done its part."""

from __future__ import annotations

import time

from .processes import Run
from .servers import Server

#: So that it is not done before a signal comes, however late that is.
SLOWLY = ("--batch", "8", "--scan-count", "8", "--workers", "2", "--rate", "1000")
#: The same for a copy that is to come to its end in the test.
LESS_SLOWLY = (*SLOWLY[:-1], "4000")


def wait_for_keys(target: Server, run: Run) -> None:
    """Return once the copy has begun to write."""
    deadline = time.monotonic() + 60
    while target.call("DBSIZE") < 500:
        assert run.running and time.monotonic() < deadline, run.err
        time.sleep(0.005)
