"""How long requests take, measured only where the user asks for it (-l): one figure a request, none a key.

A request is what a window asks at once: its values with their expiries, or its writes. Its time begins when it is
handed to the socket and ends with its last reply, so it holds the way there and back, the server's work on it and
on what was sent before it, and the reading of the replies.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .conn import GONE, Connection, Request
from .replies import Then, Unparsed, Way

#: Requests are told apart by their first command; these begin what is better called by another name.
_KINDS = {b"TIME": "expiries", b"SET": "MSET/SET", b"MSET": "MSET/SET"}


def kind_of(request: Request) -> str:
    """What a request is called: the name of its first command, mostly."""
    head = request if isinstance(request, bytes) else request[0]
    name = head[:64].split(b"\r\n", 3)[2].upper()
    return _KINDS.get(name) or name.decode("ascii", "replace")


class Latencies:
    """The times of requests since the last report, in whole microseconds, by side and kind."""

    def __init__(self) -> None:
        self._times_us: dict[tuple[str, str], list[int]] = defaultdict(list)

    def add(self, side: str, kind: str, seconds: float) -> None:
        """Note one request."""
        self._times_us[side, kind].append(round(seconds * 1e6))

    def take(self) -> list[list[Any]]:
        """[side, kind, times] of all that was noted since the last call."""
        taken = [[side, kind, times] for (side, kind), times in self._times_us.items()]
        self._times_us.clear()
        return taken


class MeasuredConnection(Connection):
    """A connection whose requests are timed; `kind` names them all, where their first command does not."""

    def __init__(self, latencies: Latencies, kind: str, *args: Any) -> None:
        self._latencies, self._kind = latencies, kind
        self._unsent: list[_Timed] = []
        super().__init__(*args)

    def ask(self, request: Request, replies: int, then: Then, way: Way = Way.EACH) -> None:
        """As Connection does; the handshake is not measured."""
        if not self.ready:
            return super().ask(request, replies, then, way)
        timed = _Timed(self._kind or kind_of(request), then, self._answered)
        self._unsent.append(timed)
        super().ask(request, replies, timed, way)

    def flush(self) -> None:
        """What was asked since the last call is handed to the socket now."""
        now = time.perf_counter()
        for timed in self._unsent:
            timed.began = now
        self._unsent.clear()
        super().flush()

    def _answered(self, kind: str, seconds: float) -> None:
        self._latencies.add(self.side, kind, seconds)


class _Timed:
    """Takes the replies of one request, and notes the time, unless the connection was lost."""

    __slots__ = ("answered", "began", "kind", "then")

    def __init__(self, kind: str, then: Then, answered: Callable[[str, float], None]) -> None:
        self.kind, self.then, self.answered = kind, then, answered
        self.began = time.perf_counter()

    def __call__(self, replies: Unparsed | list) -> None:
        if replies[0] is not GONE:
            self.answered(self.kind, time.perf_counter() - self.began)
        self.then(replies)
