"""A pipe between two of our processes: whole messages of any length, in both directions at once.

WHY IT IS NOT THE STANDARD LIBRARY'S: there, two that send each other more than the kernel keeps for them wait for each
other for ever. A worker that reports the names of its slow windows while it is given new ones is just that. Here one
end, the coordinator's, takes in what comes while it sends; it comes out of `receive` first.

A message is its length, four bytes, and so many bytes.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque

_HEAD = struct.Struct("!I")


class Pipe:
    """One end, of a socket that is connected with the other one's.

    `patience_s`: who takes nothing for so long, or stops in the midst of a message, counts as gone. None: it has all
    the time that it wants, and nothing is taken in while we send.
    """

    def __init__(self, sock: socket.socket, patience_s: float | None = None) -> None:
        self.sock, self.patience_s = sock, patience_s
        self.kept: deque[bytes] = deque()  # what came while we sent
        sock.settimeout(patience_s)

    def fileno(self) -> int:
        """For those who wait for several."""
        return self.sock.fileno()

    def send(self, message: bytes) -> None:
        """Send it whole. Raises OSError, after which the pipe is of no use any more."""
        data = _HEAD.pack(len(message)) + message
        if self.patience_s is None:
            return self.sock.sendall(data)
        left = memoryview(data)
        while left:
            if not self._can_send(self.patience_s):
                self._keep_what_comes()
                continue
            left = left[self.sock.send(left) :]

    def _can_send(self, patience_s: float) -> bool:
        """Whether the other end takes something now; else it has sent us something. Raises TimeoutError."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        found = poll.poll(1000 * patience_s)
        if not found:
            raise TimeoutError("nothing was taken")
        return bool(found[0][1] & (select.POLLOUT | select.POLLERR | select.POLLHUP))

    def _keep_what_comes(self) -> None:
        try:
            self.kept.append(self._receive())
        except EOFError:
            raise BrokenPipeError("the other end is closed") from None

    def receive(self) -> bytes:
        """The next message, waited for. Raises EOFError at the end, OSError for an end that was not expected."""
        return self.kept.popleft() if self.kept else self._receive()

    def _receive(self) -> bytes:
        return self._exactly(*_HEAD.unpack(self._exactly(_HEAD.size)))

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            size = self.sock.recv_into(view)
            if not size:
                raise EOFError
            view = view[size:]
        return bytes(data)

    def close(self) -> None:
        """Give it back."""
        self.sock.close()


def waiting(pipes: list[Pipe], timeout_s: float) -> list[Pipe]:
    """Those from which something is to be received, or whose other end is closed; waits for one at most so long."""
    found = [pipe for pipe in pipes if pipe.kept]
    poll = select.poll()
    by_fd = {pipe.fileno(): pipe for pipe in pipes if not pipe.kept}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return found + [by_fd[fd] for fd, _ in poll.poll(0 if found else 1000 * max(0.0, timeout_s))]
