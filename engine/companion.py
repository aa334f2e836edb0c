"""A process of ours that is started beside us: waited for until it is up."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator

from .workers.errors import KeyferryError

PAUSE_S = 0.005


class NotUp(Exception):
    """It did not come up; the text says why."""


def wait_until_up(
    process: subprocess.Popen[bytes],
    is_up: Callable[[], bool],
    said: Callable[[], str],
    stop: Callable[[], None],
    within_s: float,
) -> None:
    """Return once `is_up()`. Raises NotUp with what it `said()` where it has ended, or after too long.

    `stop()` is called all the while, and may raise. Where the process has ended it comes first: a signal for us and
    our group has come to it as well, until it has a session of its own.
    """
    deadline = time.monotonic() + within_s
    while not is_up():
        if process.poll() is not None and not is_up():
            stop()
            raise NotUp(said() or "it ended at once")
        if time.monotonic() > deadline:
            raise NotUp(f"it was not up within {within_s:g} s")
        stop()
        time.sleep(PAUSE_S)


@contextlib.contextmanager
def ended_unless_up(end: Callable[[], None], failed: Callable[[str], KeyferryError]) -> Iterator[None]:
    """Within `with`, it is waited for; any error ends it, and NotUp becomes what `failed` makes of its text."""
    try:
        yield
    except NotUp as error:
        end()
        raise failed(str(error)) from None
    except BaseException:
        end()
        raise
