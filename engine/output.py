"""stdout, which has results and nothing else, and stderr. A reader or terminal that goes away does not end the job."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from .text import printable
from .workers.errors import RunError

#: A reader, or terminal, has gone: it wants no results. All else is a loss, as of a full disk.
NOBODY_READS = (errno.EPIPE, errno.EIO)
_unwritten: list[OSError] = []


def hold_standard_streams() -> None:
    """Have those that are closed lead nowhere: the next file or connection would get their number otherwise, and take
    in what a command of the user's prints. Nothing can be read from them, as before.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_WRONLY), True)  # it gets the lowest number that is free


def say_result(text: str) -> None:
    """Print a result of one or more lines on stdout."""
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale without our signs loses no result
    with outlived(sys.stdout) as failed:
        print("\n".join(printable(line) for line in text.split("\n")), flush=True)
    _unwritten.extend(error for error in failed if isinstance(error, OSError) and error.errno not in NOBODY_READS)


def check_results() -> None:
    """Once all is done: raise RunError if a result is not where stdout leads."""
    if _unwritten:
        reason = _unwritten[0].strerror
        _unwritten.clear()
        raise RunError(f"the result could not be written to stdout: {reason}", hint="all else was done as usual")


def say_message(line: str) -> None:
    """Print a line on stderr."""
    if sys.stderr is not None:
        with outlived(sys.stderr):
            print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def outlived(stream: IO[str]) -> Iterator[list[Exception]]:
    """Let writing to a stream fail; afterwards the stream leads nowhere, as Python flushes it once more at its end.

    The list has what it failed with.
    """
    failed: list[Exception] = []
    try:
        yield failed
    except (OSError, ValueError) as error:
        failed.append(error)
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class LastingStderr:
    """sys.stderr for those who write to a file by themselves: it never fails."""

    def write(self, text: str) -> None:
        """Write, as far as there is somebody to read."""
        if sys.stderr is not None:
            with outlived(sys.stderr):
                sys.stderr.write(text)

    def flush(self) -> None:
        """Flush, as far as there is somebody to read."""
        if sys.stderr is not None:
            with outlived(sys.stderr):
                sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)
