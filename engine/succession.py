"""Who is the master of a service that Sentinels watch, asked again and again while a copy runs."""

from __future__ import annotations

import threading

from .partitioners.sentinel import master_of
from .workers.endpoint import Endpoint
from .workers.errors import AccessError, ChangedError

#: The Sentinels are asked so often.
LOOK_S = 1.0


class Succession(threading.Thread):
    """Watches one side from `begin` to `close`; `master` is the endpoint that the plan was made for."""

    def __init__(self, side: str, master: Endpoint) -> None:
        super().__init__(name=f"keyferry-succession-{side}", daemon=True)
        self.side, self.master = side, master
        self._ended = threading.Event()
        self._now = master

    def run(self) -> None:
        """Ask until told to end."""
        while not self._ended.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        try:
            self._now = master_of(self.master, self.side)
        except AccessError:
            pass  # the master may be well without them

    def begin(self) -> None:
        """Ask again and again, from the first call on."""
        if self.ident is None:
            self.start()

    def close(self) -> None:
        """Ask no more."""
        self._ended.set()

    def check(self, fresh: bool = False) -> None:
        """Raise ChangedError where another server is the master now; `fresh`: ask the Sentinels first."""
        if fresh:
            self._look()
        if self._now.address != self.master.address:
            text = f"it is the master now, by its Sentinels, in the place of {self.master.address}"
            raise ChangedError(text, side=self.side, address=self._now.address)
