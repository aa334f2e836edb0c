"""Signals set flags; what they mean is decided where it is safe to."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

#: What ends a run in order when it comes once, and at once when it comes again.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


#: A pause looks for signals so often.
LOOK_S = 0.05


class Ended(BaseException):
    """A second signal, or the first where nothing is on its way: everything stops now."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Within `with`, the first ending signal and SIGUSR1 are noted (`seen`, `status_asked`); the second raises Ended.

    Outside of it signals do what they do anyway, and none is ever seen: so it is for callers of the Python API.
    """

    def __init__(self) -> None:
        self._first = 0
        self._status = False
        self._idle = False
        self._before: dict[int, object] = {}

    def seen(self) -> int:
        """The number of the ending signal that came first, or 0."""
        return self._first

    def obey(self) -> None:
        """Raise Ended once an ending signal is seen."""
        if self.seen():
            raise Ended(self._came())

    def _came(self) -> int:
        """The number of the signal that has come: a run ends with it, whatever a part of the run made of it."""
        return self._first

    def status_asked(self) -> bool:
        """Whether SIGUSR1 has come since this was last asked."""
        asked, self._status = self._status, False
        return asked

    def pause(self, pause_s: float) -> None:
        """Wait so long, or until an ending signal has come."""
        until = time.monotonic() + pause_s
        while not self.seen() and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, LOOK_S))

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within `with`, nothing is on its way: the first ending signal raises Ended, whatever is waited for."""
        with self._at_once():
            self.obey()  # only now: none may come in between
            yield

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[None]:
        self._idle = True
        try:
            yield
        finally:
            self._idle = False

    def __enter__(self) -> Signals:
        for number in ENDING:
            # nohup sets SIGHUP to be ignored: the job is meant to outlive its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._end)
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._ask)
        return self

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self._first or self._idle:
            self._first = self._first or number
            raise Ended(number)
        self._first = number

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._status = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


class Reading(Signals):
    """The signals that another takes in, as a part of a run understands them: of each ending one that has come,
    `meaning(number)` is what is seen in its place, 0 = none of its concern."""

    def __init__(self, signals: Signals, meaning: Callable[[int], int]) -> None:
        super().__init__()
        self._signals, self._meaning = signals, meaning

    def seen(self) -> int:
        """The number of the ending signal, or 0."""
        found = self._signals.seen()
        return self._meaning(found) if found else 0

    def _came(self) -> int:
        return self._signals._came()

    def status_asked(self) -> bool:
        """Whether SIGUSR1 has come since anybody asked."""
        return self._signals.status_asked()

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[None]:
        """As of the signals themselves: where nothing is on its way, each that comes now ends the run."""
        with self._signals._at_once():
            yield


def ending_live(signals: Signals) -> Signals:
    """To a live copy Ctrl-C means to cut over, and ends nothing."""
    return Reading(signals, lambda number: 0 if number == signal.SIGINT else number)


def from_now_on(signals: Signals) -> Signals:
    """Only what has not come yet: a signal that was obeyed has nothing to say to what begins after it."""
    obeyed = signals.seen()
    return Reading(signals, lambda number: 0 if obeyed else number)
