"""A connection through the fault proxy: a pump for each direction, and the rules that wait for their moment on it."""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .addresses import Address, address
from .eventloop import Loop
from .faults import (
    BYTES,
    CONNECT,
    CUT,
    DELAY,
    GARBAGE,
    HALF_CLOSE,
    REPLIES,
    REPLY,
    REQUESTS,
    RESET,
    SLOW,
    STALL,
    Moment,
    Rule,
)
from .frames import Frames
from .pump import Pump

#: What no server says: no type of RESP begins so.
RUBBISH = b"\x00\x01 this is not RESP \xff\r\n"
#: For SO_LINGER: closing sends RST instead of FIN.
NO_LINGER = struct.pack("ii", 1, 0)
#: The first bytes of a request hold the command's name.
HEAD_BYTES = 64


@dataclass
class Counters:
    """What happened on all connections so far: how many there were, faults, bytes passed on in each direction."""

    connections: int = 0
    fired: int = 0
    bytes: dict[str, int] = field(default_factory=lambda: {REQUESTS: 0, REPLIES: 0})


@dataclass
class Armed:
    """A rule of the map, and how often it has fired on all connections together."""

    rule: Rule
    fired: int = 0

    @property
    def spent(self) -> bool:
        """It fired, and fires only once."""
        return self.rule.once and self.fired > 0


@dataclass
class Trigger:
    """A rule that waits on one connection: so many bytes, or so many requests or replies, are `left`."""

    armed: Armed
    left: int

    @property
    def moment(self) -> Moment:
        """What it waits for."""
        return self.armed.rule.moment

    def watches(self, direction: str) -> bool:
        """Whether what passes in this direction may bring its moment."""
        if self.armed.spent:
            return False
        if self.moment.kind == BYTES:
            return self.armed.rule.direction in ("", direction)
        return (self.moment.kind == REPLY) == (direction == REPLIES)


class Link:
    """One client and its connection to the server. `fired()` is called after each fault, `closed(link)` at the end."""

    def __init__(
        self,
        loop: Loop,
        counters: Counters,
        client: socket.socket,
        server: socket.socket,
        watch: bool,
        fired: Callable[[], None],
        closed: Callable[[Link], None],
    ) -> None:
        self.loop, self.counters, self.number = loop, counters, counters.connections
        self.triggers: list[Trigger] = []
        self.pairs: dict[Address, Address] = {}  # addresses that replies tell, and those they should tell
        self.closed = False
        self._asked: deque[bytes] = deque()  # names of the requests whose replies are still to come
        self._on_fired, self._on_closed = fired, closed
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = Pump(self, REQUESTS, client, server, Frames() if watch else None)
        self.replies = Pump(self, REPLIES, server, client, Frames() if watch else None)
        self._ends = (client, self.requests, self.replies), (server, self.replies, self.requests)
        self.client_port: int = client.getpeername()[1]

    @property
    def stalled(self) -> bool:
        """Whether a direction is held."""
        return self.requests.stalled or self.replies.stalled

    def arm(self, armed: list[Armed], new: bool = False) -> None:
        """Wait for the moments of these rules, and of no others; what happens at connect happens to a new link only."""
        meant = [one for one in armed if one.rule.meets(self.number) and not one.spent]
        self.triggers = [Trigger(one, one.rule.moment.number) for one in meant if one.rule.moment.kind != CONNECT]
        for one in meant:
            if new and one.rule.moment.kind == CONNECT:
                self.strike(one, self.requests)
        self.look()

    def triggers_of(self, pump: Pump) -> list[Trigger]:
        """The rules that what passes through this pump may set off."""
        return [trigger for trigger in self.triggers if trigger.watches(pump.name)] if self.triggers else []

    def name_of(self, pump: Pump, frame: bytes) -> bytes:
        """The command of a request, or that to which a reply belongs, in capitals; a push belongs to none."""
        if pump is self.requests:
            words = frame[:HEAD_BYTES].split()
            self._asked.append((words[2] if frame[:1] == b"*" else words[0]).upper() if words else b"")
            return self._asked[-1]
        return b"" if frame[:1] == b">" or not self._asked else self._asked.popleft()

    # ---- faults ---------------------------------------------------------------------------------------------

    def strike(self, armed: Armed, pump: Pump) -> None:
        """Let a fault happen; `pump` is the one in whose stream its moment was."""
        if armed.spent or self.closed:
            return
        armed.fired += 1
        self.counters.fired += 1
        rule = armed.rule
        if rule.fault in (CUT, RESET):
            self._break(rule)
        elif rule.fault == GARBAGE:
            self._talk_rubbish(pump)
        else:
            self.pairs.update((address(old), address(new)) for old, new in rule.pairs)
            for one in (self.requests, self.replies):
                if rule.direction in ("", one.name):
                    _hinder(one, rule)
        self._on_fired()

    def _break(self, rule: Rule) -> None:
        if rule.fault == RESET:
            for end, _, _ in self._ends:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            return self.close()
        # Closing a socket that holds unread bytes would send RST, and the other end would lose what it had got.
        self.requests.cut()
        self.replies.cut()

    def _talk_rubbish(self, pump: Pump) -> None:
        if pump is self.replies:
            return pump.insert(RUBBISH)
        self.replies.put(RUBBISH)
        self.replies.drain()

    def release(self) -> None:
        """Both directions go on as if nothing had happened."""
        for pump in (self.requests, self.replies):
            pump.release()

    # ---- life -----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Listen for what can be done next; close when nothing more can come."""
        if self.closed:
            return
        if self.requests.done and self.replies.done:
            return self.close()
        for end, reads, writes in self._ends:
            # A socket that nothing is wanted of is not watched: its end would be told again and again.
            mask = (select.EPOLLIN if reads.hungry else 0) | (select.EPOLLOUT if writes.blocked else 0)
            self.loop.watch(end.fileno(), mask, self._ready, reads, writes)

    def _ready(self, events: int, reads: Pump, writes: Pump) -> None:
        if events & ~select.EPOLLOUT and reads.hungry:
            reads.fill()
        if writes.blocked and not self.closed:
            writes.drain()

    def close(self) -> None:
        """Close both ends at once. Again is allowed."""
        if not self.closed:
            self.closed = True
            for end, _, _ in self._ends:
                self.loop.forget(end.fileno())
                end.close()
            self._on_closed(self)


def _hinder(pump: Pump, rule: Rule) -> None:
    """What a fault does to one direction that goes on."""
    if rule.fault == HALF_CLOSE:
        pump.end()
    elif rule.fault == STALL:
        pump.stalled = True
    elif rule.fault == SLOW:
        pump.rate = rule.value
    elif rule.fault == DELAY:
        pump.delay_s = rule.value / 2000
