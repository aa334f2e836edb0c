"""One non-blocking connection to one database of one server, pipelined.

A connection belongs to one (node, database, role) for life. It logs in, selects its database and checks that it
reached the process that the plan was made for; only when every reply of that handshake has been read and found
good does it take requests (`ready`). Requests are answered in the order in which they were asked.

WHAT HAPPENS IF something goes wrong: `Lost` is raised to the event loop, with the reason in plain words. A
connection that was lost is never used again: whatever was asked on it, and whatever is asked of it afterwards, is
answered by `GONE` in the place of each reply. Another connection takes its place (`links.py`).

WHAT WAS SENT on a connection that we gave up may still be executed by the server, after what is sent on the next
one. So the next one first kills those before it by their CLIENT ID (`fence`); until the server has answered that,
it is not ready, and nothing is sent again.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import hiredis

from .endpoint import Endpoint
from .errors import AccessError, InternalError, KeyferryError, RunError, StateError
from .handshake import Handshake, is_for_now
from .policy import Gone, rule_for
from .replies import RECV_BYTES, Replies, Then, Unforeseen, Way, mark_request, new_mark, recv_buffer
from .resp import command
from .setup import Node
from .tls import TlsError, WaitsForServer

if TYPE_CHECKING:
    from .tlssocket import TlsSocket

Request = bytes | list[bytes]

#: A connection that always has more to read must not keep the loop from the others.
RECVS_A_TURN = 16
#: Nobody may want to keep a connection that has had nothing to do for so long; to close it is no failure.
IDLE_S = 1.0
#: Pieces of a request that are shorter than this on average are joined before they are sent.
JOIN_BYTES = 2048
#: At most so many pieces go into one system call (IOV_MAX is 1024).
PIECES_A_SEND = 512
#: So much of a request is kept until its replies are there: its first command's name.
HEAD_BYTES = 32
#: Asked of the kernel for each direction; it gives what it allows.
SOCKET_BUFFER_BYTES = 4 << 20

#: How replies are taken that end with that to a mark.
_WITH_MARK = (Way.MARKED, Way.UNPARSED)
#: What stands in the place of a reply that will never come.
GONE = Gone()


class Lost(Exception):
    """`error` says why it cannot go on. With `conn`: this connection is of no use any more, but another may be."""

    def __init__(self, error: KeyferryError, conn: Connection | None = None) -> None:
        super().__init__(str(error))
        self.error, self.conn = error, conn


class Connection:
    """`ask(request, n, then)` sends bytes and calls then([n replies]) when they are there."""

    def __init__(
        self,
        side: str,
        number: int,
        node: Node,
        db: int,
        name: str,
        poll: select.epoll,
        fence: tuple[int, ...] = (),
        turn: int = 0,
    ) -> None:
        """Begin to connect, by another of the host's addresses at each `turn`. Raises Lost. `number` is the node's."""
        self.side, self.number, self.node, self.db, self.name, self.poll = side, number, node, db, name, poll
        self.fence = fence  # CLIENT IDs of connections given up, whose last bytes must not be executed any more
        self.fence_missing = False  # the one before has no CLIENT ID that we know of
        self.fence_refused = ""  # the server's words, where it does not let us
        self.endpoint: Endpoint = node.endpoint
        self.ready = False
        self.used = False  # it has been ready: something may have been sent
        self.when_ready: Callable[[], None] = lambda: None
        self._replies = self._new_replies()
        self._out: list[bytes | memoryview] = []
        self._watches_write = True
        self._alive_at = time.monotonic()
        self._deadline_s = self.endpoint.connect_timeout_s
        self.handshake = self._new_handshake(name)
        self.fd = -1
        self.sock: socket.socket | TlsSocket = self._open(turn)
        self.fd = self.sock.fileno()
        poll.register(self.fd, select.EPOLLIN | select.EPOLLOUT)
        self._begin()

    # ---- asking ---------------------------------------------------------------------------------------------

    def ask(self, request: Request, replies: int, then: Then, way: Way = Way.EACH) -> None:
        """Queue a request of `replies` commands, in one piece or in several; it leaves with the loop's next `flush`."""
        if not self.ready:
            return then([GONE] * replies)
        mark = new_mark() if way in _WITH_MARK and self.handshake.echoes else b""
        self._ask(request, replies, then, way, mark)

    def _ask(self, request: Request, replies: int, then: Then, way: Way = Way.EACH, mark: bytes = b"") -> None:
        if not self._replies.due:
            self._alive_at = time.monotonic()
        if isinstance(request, bytes):
            self._out.append(request)
        else:
            self._out += request
        if mark:
            self._out.append(mark_request(mark))
        head = (request if isinstance(request, bytes) else request[0])[:HEAD_BYTES]
        self._replies.expect(replies, then, way, mark, head)

    @property
    def wants_flush(self) -> bool:
        """Something is queued that the kernel has not been offered."""
        return bool(self._out) and not self._watches_write

    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it; the rest follows when it can."""
        while self._out:
            self._join_small_pieces()
            try:
                sent = self.sock.sendmsg(self._out[:PIECES_A_SEND])
            except BlockingIOError as blocked:
                return self._watch_write(not isinstance(blocked, WaitsForServer))
            except OSError as error:
                raise self._broken(error) from None
            self._alive_at = time.monotonic()
            self._drop(sent)
        self._watch_write(False)

    def _join_small_pieces(self) -> None:
        """Many small pieces leave faster as one; large ones are not copied once more. A rest is left as it is."""
        out = self._out
        if len(out) > 1 and not isinstance(out[0], memoryview) and sum(map(len, out)) < JOIN_BYTES * len(out):
            self._out = [b"".join(out)]

    def _drop(self, sent: int) -> None:
        """Forget so many bytes that the kernel has taken."""
        whole = 0
        for piece in self._out:
            if sent < len(piece):
                break
            sent -= len(piece)
            whole += 1
        del self._out[:whole]
        if sent:
            self._out[0] = memoryview(self._out[0])[sent:]

    # ---- what epoll tells -----------------------------------------------------------------------------------

    def on_event(self, events: int) -> None:
        """Take what the socket has and give what it takes."""
        if events & ~select.EPOLLOUT:
            self._receive()
        if events & select.EPOLLOUT and self.fd >= 0:
            self.flush()

    def _receive(self) -> None:
        for _ in range(RECVS_A_TURN):
            try:
                size = self.sock.recv_into(recv_buffer)
            except BlockingIOError:
                return
            except OSError as error:
                raise self._broken(error) from None
            if not size:
                raise self._lost("closed by the server")
            self._alive_at = time.monotonic()
            try:
                self._replies.take(size)
            except hiredis.ProtocolError as error:
                raise self._lost(f"not the Redis protocol: {error}") from None
            try:
                self._replies.deliver()
            except Unforeseen as unforeseen:
                raise self._not_understood(unforeseen) from None
            if size < RECV_BYTES or self.fd < 0:
                return

    # ---- time -----------------------------------------------------------------------------------------------

    def check_deadline(self, now: float) -> None:
        """Raise Lost when an answer is due and nothing has moved for the time-out."""
        if self._replies.due and now - self._alive_at > self._deadline_s:
            raise self._lost(f"no answer within {self._deadline_s:g} s", "see -o/--timeout")

    # ---- opening and closing --------------------------------------------------------------------------------

    def _open(self, turn: int) -> socket.socket | TlsSocket:
        where = self.endpoint
        try:
            if where.socket:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                address: object = where.socket
            else:
                found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
                family, kind, proto, _, address = found[turn % len(found)]
                sock = socket.socket(family, kind, proto)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
            sock.setblocking(False)
            try:
                sock.connect(address)  # type: ignore[arg-type]
            except BlockingIOError:
                pass
            if where.tls:
                from .tlssocket import TlsSocket  # loads ssl, which plain connections do without

                return TlsSocket(sock, where)
        except OSError as error:
            raise self._broken(error) from None
        return sock

    def _new_replies(self) -> Replies:
        return Replies()

    def _new_handshake(self, name: str) -> Handshake:
        return Handshake(self.side, self.node, self.db, name)

    def _begin(self) -> None:
        def answered(replies: list) -> None:
            try:
                self.handshake.answered(replies, self._own_address())
            except KeyferryError as error:
                raise Lost(error, self if isinstance(error, StateError) else None) from None
            self._kill_those_before()

        self._ask(self.handshake.request, len(self.handshake.steps), answered)

    def _own_address(self) -> str:
        """Our end of the socket, as CLIENT INFO would tell it."""
        if self.endpoint.socket:
            return self.endpoint.socket + ":0"
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _kill_those_before(self) -> None:
        """The last step, now that it is sure that this is the process whose CLIENT IDs we know."""

        def killed(replies: list) -> None:
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            if waits := next(filter(is_for_now, errors), None):
                raise Lost(self.handshake.refusal(b"CLIENT", waits), self)
            # "No such client" is as good: it is gone.
            texts = map(str, errors)
            self.fence_refused = next((text for text in texts if not text.startswith("ERR No such client")), "")
            if not self.fence_refused:
                self.fence = ()
            self._deadline_s = self.endpoint.timeout_s
            self.ready = self.used = True
            self.when_ready()

        if not self.fence:
            return killed([])
        kills = [command(b"CLIENT", b"KILL", b"ID", b"%d" % client_id) for client_id in self.fence]
        self._ask(b"".join(kills), len(kills), killed)

    def _broken(self, error: OSError) -> Lost:
        """The socket does not go on."""
        if not isinstance(error, TlsError):
            return self._lost(error.strerror or str(error))
        if not error.final:
            return self._lost(str(error), error.hint)
        return Lost(AccessError(str(error), side=self.side, address=self.endpoint.address, hint=error.hint))

    def _not_understood(self, unforeseen: Unforeseen) -> Lost:
        """Nobody knows what the next replies would be about."""
        text = f"the reply to {unforeseen.asked} was not understood: {unforeseen}"
        hint = "is that Redis, Valkey or a server like them? if so, please report this with the command line"
        return Lost(InternalError(text, side=self.side, address=self.endpoint.address, hint=hint))

    def _lost(self, reason: str, hint: str = "") -> Lost:
        if not self.ready and (refusal := self._replies.sole_error()):
            # It has said why, and hung up: as one does that has as many connections as it takes.
            reason, hint = str(refusal), rule_for(refusal).hint
        error = RunError(f"connection lost: {reason}", side=self.side, address=self.endpoint.address, hint=hint)
        return Lost(error, self)

    def _watch_write(self, on: bool) -> None:
        if on != self._watches_write:
            self._watches_write = on
            self.poll.modify(self.fd, select.EPOLLIN | select.EPOLLOUT if on else select.EPOLLIN)

    def give_up(self) -> None:
        """Close, and answer everything that was asked by GONE. Who asked may ask again on the next connection."""
        waiting = self._replies.give_up() if self.ready else []
        self.close()
        for replies, then in waiting:
            then([GONE] * replies)

    @property
    def was_idle(self) -> bool:
        """Whether it has been good, and had nothing to do when it was lost."""
        return self.ready and not self._replies.due and time.monotonic() - self._alive_at >= IDLE_S

    @property
    def leaves_unfenced(self) -> bool:
        """Whether something may have been sent, on it or on one before it, that the next connection cannot kill.

        What was to be told of those before it has been told once it was good.
        """
        return not self.handshake.client_id if self.used else self.fence_missing

    @property
    def to_fence(self) -> tuple[int, ...]:
        """The CLIENT IDs that the next connection has to kill: our own, and those that we did not get to kill."""
        return self.fence + (self.handshake.client_id,) if self.handshake.client_id else self.fence

    def close(self) -> None:
        """Give the socket back; what was asked and not answered never will be."""
        if self.fd >= 0:
            self.poll.unregister(self.fd)
            self.sock.close()
            self.fd = -1
        self.ready = False
        self._replies.give_up()
        self._out.clear()
