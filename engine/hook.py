"""The user's own command at the moment when a live copy has converged (--on-converged)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping

from .signals import Signals

#: It has so long: what switches an application over takes seconds, and a command that hangs must not hide the result.
TIMEOUT_S = 600.0
#: When it is to end, its processes have so long before they are killed.
GRACE_S = 3.0
LOOK_S = 0.05


def run_hook(command: str, facts: Mapping[str, str], signals: Signals, timeout_s: float = TIMEOUT_S) -> str:
    """Run a shell command with `facts` in its environment; '' where it has succeeded, else why not, in a few words.

    The first ending signal that `signals` sees ends it, and all that it has started. What a command that ends by itself
    leaves running goes on: it may be the application that uses the target from now on.
    """
    # What it prints is no result of ours. It leads a group of its own, so that all of it can be ended.
    words = ["/bin/sh", "-c", command]
    with subprocess.Popen(words, env=os.environ | facts, stdout=2, start_new_session=True) as running:
        try:
            deadline = time.monotonic() + timeout_s
            while running.poll() is None and time.monotonic() < deadline and not signals.seen():
                time.sleep(LOOK_S)
            if running.returncode is None:
                why = "was ended by a signal" if signals.seen() else f"did not end within {timeout_s:g} s"
                return f"the command {why}"
        finally:
            if running.returncode is None:
                _end(running)
    return f"the command ended with code {running.returncode}" if running.returncode else ""


def _end(running: subprocess.Popen[bytes]) -> None:
    """End the whole group, of which the shell may be the first to go; a second signal waits for none of them."""
    try:
        _tell(running, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while _tell(running, 0) and time.monotonic() < deadline:
            running.poll()  # an ended shell that nobody has asked for still counts
            time.sleep(LOOK_S)
    finally:
        _tell(running, signal.SIGKILL)


def _tell(running: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the group (0: none, only look); False where nobody is left in it."""
    try:
        os.killpg(running.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # who is left is another user by now
    return True
