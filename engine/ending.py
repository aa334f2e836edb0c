"""An end before everything is done, by a signal or an error: what is on its way has a while to finish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .logs import Log
from .signals import Ended
from .summary import Summary
from .workers.errors import EXIT_SIGNAL, AccessError, ChangedError, KeyferryError, RunError

#: When one worker cannot go on, the others have so long to finish what is on its way.
FAILURE_S = 3.0
#: After the first signal, windows have so long to be acknowledged.
DRAIN_S = 15.0


@dataclass
class Ending:
    """`signal` is the one that came first, or 0; `failure` the first error."""

    warn: Callable[[str], None]
    signal: int = 0
    failure: KeyferryError | None = None
    _until: float = 0.0

    @property
    def begun(self) -> bool:
        """Nothing new is begun any more."""
        return bool(self.signal or self.failure)

    def by_signal(self, number: int) -> None:
        """The first signal has come."""
        self.signal = number
        if not self.failure:
            self._until = time.monotonic() + DRAIN_S

    def by_failure(self, error: KeyferryError) -> None:
        """Something cannot go on."""
        self.failure, self._until = error, time.monotonic() + FAILURE_S

    @property
    def is_due(self) -> bool:
        """Whether it is no longer waited for what is on its way."""
        if not self.begun or time.monotonic() <= self._until:
            return False
        if not self.failure:
            self.warn(f"not everything on its way was acknowledged within {DRAIN_S:g} s")
        return True

    @property
    def leaves_writes_behind(self) -> bool:
        """Whether workers are ended with writes on their way, to a target that can be reached."""
        return isinstance(self.failure, ChangedError) or (self.failure is not None and self.failure.side != "target")


def by_the_first_key(error: KeyferryError, any_key: bool) -> KeyferryError:
    """What ends a run before its first key is about reaching a server; the same after it is about the run."""
    kind = RunError if any_key else AccessError
    if isinstance(error, (RunError, AccessError)) and error.side and not isinstance(error, (ChangedError, kind)):
        return kind(error.message, side=error.side, address=error.address, hint=error.hint)
    return error


def exit_code_of(end: KeyferryError | Ended) -> int:
    """By which exit code a run ends that was not finished."""
    return EXIT_SIGNAL + end.number if isinstance(end, Ended) else end.exit_code


def end_early(summary: Summary, failure: KeyferryError, number: int, log: Log) -> None:
    """Say by which exit code a run ends that has failed; raises the failure.

    Where a signal (`number`) has come as well, that goes before: the failure, of what was on its way, is only told.
    """
    summary.exit_code = EXIT_SIGNAL + number if number else failure.exit_code
    if not number:
        raise failure
    log.error(failure)
