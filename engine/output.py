"""stdout: results and nothing else. A reader that has gone away does not end the job."""

from __future__ import annotations

import os
import sys

from .text import printable


def say_result(text: str) -> None:
    """Print a result of one or more lines on stdout."""
    if sys.stdout is None:
        return
    try:
        print("\n".join(printable(line) for line in text.split("\n")), flush=True)
    except OSError:
        # What Python would flush at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
