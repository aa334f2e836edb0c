"""A pump: one direction of a connection through the fault proxy.

HOW IT WORKS. What is read goes through a queue, each piece with the instant at which it is due. A fault is put into
the queue at its place in the stream: it happens when everything before it has been passed on. Stalled, a pump goes on
reading, up to HELD_BYTES, so that what a client had sent is not lost with the client: a network holds it just so.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .addresses import translated
from .faults import BYTES, REPLIES
from .frames import Frames

if TYPE_CHECKING:
    from .link import Link, Trigger

#: One read takes at most so much.
READ_BYTES = 1 << 18
#: What is held back: more than a link of 100 ms and 100 MB/s carries. A slow link holds what it passes in a second.
HELD_BYTES = 16 << 20
#: A slow direction sends so many pieces a second.
PIECES_A_SECOND = 50


@dataclass
class Pump:
    """One direction of a link."""

    link: Link
    name: str  # REQUESTS or REPLIES
    source: socket.socket
    sink: socket.socket
    frames: Frames | None
    held_bytes: int = 0
    delay_s: float = 0.0
    rate: float = 0.0  # bytes a second; 0 = any
    stalled: bool = False
    blocked: bool = False  # the kernel takes no more for the sink
    deaf: bool = False  # the source has nothing more to say
    shut: bool = False  # the sink was told that nothing more comes; the rest is thrown away
    _queue: deque[tuple[float, bytes | Callable[[], None]]] = field(default_factory=deque)
    _again_at: float = 0.0  # a timer is set for this instant
    _next_send_at: float = 0.0  # of a slow direction

    # ---- in -------------------------------------------------------------------------------------------------

    @property
    def hungry(self) -> bool:
        """It wants to read."""
        return not self.deaf and self.held_bytes < min(HELD_BYTES, self.rate or HELD_BYTES)

    def fill(self) -> None:
        """Read what the source has."""
        try:
            data = self.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # gone without a word; what it had sent before still counts
            data = b""
        if data:
            self._take(data)
        else:
            self.deaf = True
            self.put(self.end)
        self.drain()

    def _take(self, data: bytes) -> None:
        if self.frames is None:
            return self._pass(data, b"")
        try:
            for frame in self.frames.feed(data):
                name = self.link.name_of(self, frame)
                if self.name == REPLIES and self.link.pairs:
                    frame = translated(frame, name, self.link.pairs)
                self._pass(frame, name)
        except ValueError:  # no RESP
            self.link.close()

    def _pass(self, piece: bytes, name: bytes) -> None:
        """Queue a piece, and in front of it, or within it, the faults whose moment has come."""
        for trigger in self.link.triggers_of(self):
            if trigger.moment.kind == BYTES:
                if trigger.left < len(piece):
                    self.put(piece[: trigger.left])
                    piece = piece[trigger.left :]
                    self._fire(trigger)
                else:
                    trigger.left -= len(piece)
            elif name.decode("latin-1") in trigger.moment.names:
                trigger.left -= 1
                if not trigger.left:
                    self._fire(trigger)
        self.put(piece)

    def _fire(self, trigger: Trigger) -> None:
        self.link.triggers.remove(trigger)
        self.put(lambda: self.link.strike(trigger.armed, self))

    def put(self, piece: bytes | Callable[[], None]) -> None:
        """Queue a piece, or something to do once all before it has been passed on."""
        self._queue.append((time.monotonic() + self.delay_s, piece))
        self.held_bytes += len(piece) if isinstance(piece, bytes) else 0

    # ---- out ------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Pass on what is due, as far as the sink takes it."""
        self.blocked = False
        while self._queue and not self.stalled and not self.blocked and not self.link.closed:
            due, piece = self._queue[0]
            due = max(due, self._next_send_at)
            if due > time.monotonic():
                self._come_back(due)
                break
            self._queue.popleft()
            if isinstance(piece, bytes):
                self._send(piece)
            else:
                piece()
        self.link.look()

    def _send(self, piece: bytes) -> None:
        part = piece if not self.rate else piece[: max(1, int(self.rate / PIECES_A_SECOND))]
        sent = len(piece)  # all of it, where it is thrown away
        if not self.shut:
            try:
                sent = self.sink.send(part)
            except BlockingIOError:
                sent, self.blocked = 0, True
            except OSError:  # nobody is there any more
                self.shut = True
            else:
                self.link.counters.bytes[self.name] += sent
        self.held_bytes -= sent
        if sent < len(piece):
            self._queue.appendleft((0.0, piece[sent:]))
        if self.rate:
            self._next_send_at = time.monotonic() + sent / self.rate

    def _come_back(self, instant: float) -> None:
        if instant != self._again_at:
            self._again_at = instant
            self.link.loop.at(instant, self.drain)

    def insert(self, data: bytes) -> None:
        """Put bytes in front of all others."""
        self._queue.appendleft((0.0, data))
        self.held_bytes += len(data)

    def cut(self) -> None:
        """End at once: also what is held is thrown away."""
        self._queue.clear()
        self.held_bytes = 0
        self.end()

    def end(self) -> None:
        """Tell the sink that nothing more comes, and throw away what does."""
        if not self.shut:
            self.shut = True
            with contextlib.suppress(OSError):  # it may be gone
                self.sink.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Go on as a healthy direction does."""
        self.stalled, self.rate, self.delay_s, self._next_send_at = False, 0.0, 0.0, 0.0
        self._queue = deque((0.0, piece) for _, piece in self._queue)
        self.drain()

    @property
    def done(self) -> bool:
        """Nothing more can come through."""
        return self.deaf and self.shut and not self._queue
