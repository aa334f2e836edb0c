"""One blocking connection: ask, wait, take the answer. For the few things that are asked outside the copy."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import hiredis

from .endpoint import Endpoint
from .resp import command

if TYPE_CHECKING:
    from .tlssocket import TlsSocket

RECV_BYTES = 1 << 16
Words = tuple[str | bytes | int, ...]

_NO_MORE = object()


class ReplyError(Exception):
    """An error reply, in the server's own words; it is returned, not raised."""


class Closed(ConnectionError):
    """The server has closed the connection."""


class NotRedis(Exception):
    """What came is not the Redis protocol."""


class Dialog:
    """Connected from the start. OSError (TimeoutError where no answer comes) and NotRedis mean: it is of no use now."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.timeout_s = endpoint.timeout_s
        self._reader = hiredis.Reader(notEnoughData=_NO_MORE, replyError=ReplyError)
        self.heard = False  # a reply has come: this is a server that speaks with us
        self._sock = connected(endpoint)
        self._asked: deque[Words] = deque()  # by `ask`; replies come in this order
        self._answers: dict[Words, object] = {}  # that nobody has taken yet

    def ask(self, *words: str | bytes | int) -> None:
        """Send one command and do not wait; `answer` brings its reply. While that is on its way, nothing is sent."""
        if words not in self._asked:
            self._sock.settimeout(self.timeout_s)
            self._sock.sendall(command(*map(_encoded, words)))
            self._asked.append(words)

    def answer(self, *words: str | bytes | int) -> object:
        """The reply to `ask` with the same words, once, or None while it has not come."""
        if words in self._asked:
            self._look_for_answers()
        return self._answers.pop(words, None)

    def _look_for_answers(self) -> None:
        self._sock.settimeout(0)
        try:
            while self._asked:
                self._receive()
                while self._asked and (reply := self._next()) is not _NO_MORE:
                    self._answers[self._asked.popleft()] = reply
        except BlockingIOError:
            pass

    def call(self, *words: str | bytes | int) -> object:
        """The reply to one command: bytes, int, list, None or ReplyError."""
        return self.call_all([words])[0]

    def call_all(self, commands: Sequence[Words]) -> list[object]:
        """The replies to some short commands that are sent together, so that the way is gone once."""
        deadline = time.monotonic() + self.timeout_s
        self._sock.settimeout(self.timeout_s)
        self._sock.sendall(b"".join([command(*map(_encoded, words)) for words in commands]))
        while self._asked:
            reply = self._wait_until(deadline)
            self._answers[self._asked.popleft()] = reply
        return [self._wait_until(deadline) for _ in commands]

    def _wait_until(self, deadline: float) -> object:
        while (reply := self._next()) is _NO_MORE:
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            self._receive()
        return reply

    def _receive(self) -> None:
        data = self._sock.recv(RECV_BYTES)
        if not data:
            raise Closed("Connection closed by server")
        self._reader.feed(data)

    def _next(self) -> object:
        try:
            reply = self._reader.gets()
        except hiredis.ProtocolError as error:
            raise NotRedis(str(error)) from None
        self.heard = self.heard or reply is not _NO_MORE
        return reply

    def close(self) -> None:
        """Give the connection back."""
        self._sock.close()


def connected(endpoint: Endpoint) -> socket.socket | TlsSocket:
    """A blocking socket that has reached the server, by the first of its addresses that answers. Raises OSError."""
    if not endpoint.socket:
        deadline = time.monotonic() + endpoint.connect_timeout_s
        try:
            sock = socket.create_connection((endpoint.host, endpoint.port), endpoint.connect_timeout_s)
        except UnicodeError:  # a part between dots is empty, or too long
            raise OSError("it is no host's name") from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _encrypting(sock, endpoint, deadline) if endpoint.tls else sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(endpoint.connect_timeout_s)
        sock.connect(endpoint.socket)
    except BaseException:
        sock.close()
        raise
    return sock


def _encrypting(sock: socket.socket, endpoint: Endpoint, deadline: float) -> TlsSocket:
    from .tlssocket import TlsSocket  # loads ssl, which plain connections do without

    try:
        encrypting = TlsSocket(sock, endpoint)
        encrypting.shake_hands(deadline - time.monotonic())
    except BaseException:
        sock.close()
        raise
    return encrypting


def _encoded(word: str | bytes | int) -> bytes:
    if isinstance(word, str):
        return word.encode()
    return b"%d" % word if isinstance(word, int) else word
