"""A socket that speaks TLS, with the methods of a plain one that connections use; blocking or not, as that is.

HOW IT WORKS. OpenSSL reads and writes memory; this reads and writes the socket. So a whole read of the socket is
decrypted at once, and what OpenSSL holds is never a surprise to who waits for the socket.

`sendmsg` says that bytes are taken once what they were encrypted to has left altogether. Until then it raises
BlockingIOError, and the caller comes again with the same bytes first, which are not encrypted again.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence

from .endpoint import Endpoint
from .tls import WaitsForServer, context_of, ended_early, explained, no_answer

#: Bytes that are encrypted at a time: enough to keep the kernel's buffer full, and little to keep twice.
SEND_BYTES = 1 << 18
#: Bytes that are read at a time. What they decrypt to, with the rest of a record that came before (at most 17 KB),
#: has room in the buffers of those who call (128 KB).
RECV_BYTES = 96 << 10
BUFFER_BYTES = 1 << 17


class TlsSocket:
    """Around a TCP socket that is connected, or about to be. Raises OSError as that does, and TlsError."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint) -> None:
        assert endpoint.tls is not None
        self._sock = sock
        self._name = endpoint.tls.sni or endpoint.host
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context_of(endpoint.tls).wrap_bio(self._in, self._out, server_hostname=self._name)
        self._agreed = False
        self._rest = memoryview(b"")  # encrypted, and not taken by the kernel yet
        self._taken = 0  # plain bytes that are in it
        self.fileno, self.getsockname = sock.fileno, sock.getsockname
        self.settimeout, self.close = sock.settimeout, sock.close

    # ---- the handshake ------------------------------------------------------------------------------------------

    def shake_hands(self, within_s: float) -> None:
        """Agree on TLS, and wait for it: of a blocking socket."""
        deadline = time.monotonic() + within_s
        try:
            while not self._agree():
                self._sock.settimeout(max(0.001, deadline - time.monotonic()))
                self._receive()
        except TimeoutError:
            raise no_answer() from None

    def _agree(self) -> bool:
        """Go on with the handshake as far as possible; whether it is over."""
        if not self._agreed:
            try:
                self._tls.do_handshake()
                self._agreed = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._say_goodbye()
                raise explained(error, self._name) from None
            self._send_rest()
        return self._agreed

    def _say_goodbye(self) -> None:
        """Let the server's log tell what we did not like."""
        try:
            self._send_rest()
        except OSError:
            pass

    # ---- sending ------------------------------------------------------------------------------------------------

    def sendmsg(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Send the first of some pieces, or a part of it; how many bytes were taken."""
        if not self._agree():
            raise WaitsForServer
        if not self._taken:
            self._taken = self._encrypt(_first(pieces))
        self._send_rest()
        taken, self._taken = self._taken, 0
        return taken

    def sendall(self, data: bytes) -> None:
        """Send all of it: of a blocking socket."""
        left = memoryview(data)
        while left:
            left = left[self.sendmsg([left]) :]

    def _encrypt(self, data: bytes | memoryview) -> int:
        done = 0
        try:
            while done < len(data):
                done += self._tls.write(memoryview(data)[done:])
        except ssl.SSLError as error:
            raise explained(error, self._name) from None
        return done

    def _send_rest(self) -> None:
        if self._out.pending:
            self._rest = memoryview(bytes(self._rest) + self._out.read())
        while self._rest:
            self._rest = self._rest[self._sock.send(self._rest) :]

    # ---- receiving ----------------------------------------------------------------------------------------------

    def recv_into(self, buffer: bytearray) -> int:
        """Everything that one read of the socket brings, decrypted; 0 at the end. `buffer` has BUFFER_BYTES or more."""
        open_ = self._receive()
        if not self._agree():
            raise WaitsForServer
        size = self._decrypt_into(memoryview(buffer))
        if self._out.pending:
            self._send_rest()
        if not size and open_:
            raise BlockingIOError  # less than a record has come, or nothing that is for us
        return size

    def recv(self, _: int) -> bytes:
        """Some bytes, b"" at the end; waits for them where the socket blocks."""
        buffer = bytearray(BUFFER_BYTES)
        while True:
            try:
                return bytes(buffer[: self.recv_into(buffer)])
            except BlockingIOError:
                if self._sock.gettimeout() == 0:
                    raise

    def _receive(self) -> bool:
        """Take what the socket has; False at its end."""
        try:
            data = self._sock.recv(RECV_BYTES)
        except ConnectionResetError:
            if self._agreed:
                raise
            data = b""
        if data:
            self._in.write(data)
        elif not self._agreed:
            raise ended_early()
        return bool(data)

    def _decrypt_into(self, room: memoryview) -> int:
        size = 0
        try:
            while got := self._tls.read(len(room) - size, room[size:]):
                size += int(got)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise explained(error, self._name) from None
        return size


def _first(pieces: Sequence[bytes | memoryview]) -> bytes | memoryview:
    """As many of the pieces as are encrypted at a time, in one."""
    first = pieces[0]
    if len(pieces) == 1 or len(first) >= SEND_BYTES:
        return memoryview(first)[:SEND_BYTES]
    chosen, size = [], 0
    for piece in pieces:
        if size >= SEND_BYTES:
            break
        chosen.append(memoryview(piece)[: SEND_BYTES - size])
        size += len(chosen[-1])
    return b"".join(chosen)
