"""How slow the source is for its other clients: felt by a small request on a connection that has nothing else to do.

The connections of the workers would not tell: their replies wait for each other. A PING of our own waits, as those
of all clients do, for what the server is executing: our windows, or anybody's long commands. What it takes above the
smallest round trip ever seen is what the source's clients suffer.

LIMITATIONS. It is felt from here: a full line, or a busy machine of our own, looks like a slow source.
"""

from __future__ import annotations

import threading
import time

from .partitioners.control import Control
from .workers.endpoint import Endpoint
from .workers.errors import AccessError

#: Between an answer and the next request.
PAUSE_S = 0.025
#: The first requests come without a pause: the smallest round trip should be known before the load begins.
FIRST = 5
#: The last so many answers count, half a second of them or more; the slowest of them are accidents, and do not.
ANSWERS, ACCIDENTS = 20, 2
#: A request that is on its way for so long counts before it is answered.
PATIENCE_S = 0.25
#: When the connection is lost, another one is tried after so long.
AGAIN_S = 1.0


class Pulse(threading.Thread):
    """Measures one node from `start` to `end`."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(name="keyferry-pulse", daemon=True)
        self._control = Control(endpoint, "source")
        self._ended = threading.Event()
        self.least_s = float("inf")
        self._answers_s: tuple[float, ...] = ()  # replaced as a whole, as another thread reads it
        self._asked_at: float | None = None

    def slower_s(self) -> float:
        """Seconds by which answers take longer than the quickest one; 0 where nothing is known."""
        asked_at = self._asked_at
        waited_s = time.perf_counter() - asked_at if asked_at is not None else 0.0
        usual = sorted(self._answers_s)[:-ACCIDENTS]
        if waited_s > PATIENCE_S:
            usual = [waited_s]
        return max(0.0, sum(usual) / len(usual) - self.least_s) if usual and self.least_s < float("inf") else 0.0

    def run(self) -> None:
        """Ask and measure, until told to end."""
        while not self._ended.is_set():
            try:
                self._control.open()
                self._measure()
            except AccessError:
                # The workers meet the same, and tell.
                self._asked_at, self._answers_s = None, ()
                self._ended.wait(AGAIN_S)
        self._control.close()

    def _measure(self) -> None:
        asked = 0
        while not self._ended.wait(PAUSE_S if asked >= FIRST else 0):
            asked += 1
            begin = self._asked_at = time.perf_counter()
            self._control.call("PING")
            took_s = time.perf_counter() - begin
            self._asked_at = None
            self.least_s = min(self.least_s, took_s)
            self._answers_s = (*self._answers_s[1 - ANSWERS :], took_s)

    def end(self) -> None:
        """Ask no more; does not wait for an answer that is due."""
        self._ended.set()
