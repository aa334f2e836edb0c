"""The floor between clusters: the commands of a copy from one Python process, with nothing around them.

It knows no error, no redirection, no lost connection, no counting and no report, and takes it that both clusters have
divided the slots alike: what a copier needs beside this is its own cost. Where cursors go by slot (8.0 and later) it
reads by MGET and writes by MSET, slot by slot, else by a GET and a SET for each key; expiries by PEXPIRETIME.

`cluster_loop.py SOURCE_PORT TARGET_PORT`, a node of each cluster on 127.0.0.1.
"""

from __future__ import annotations

import select
import socket
import sys
from binascii import crc_hqx
from collections import deque
from collections.abc import Callable
from itertools import compress, groupby

import hiredis

LANES_A_NODE = 4
SCAN_KEYS = 500
RECEIVED_BYTES = 1 << 17
FED_BYTES = 1 << 14
NO_MORE = object()


def argument(word: bytes) -> bytes:
    """One argument of a command."""
    return b"\r\n$%d\r\n%b" % (len(word), word)


def command(*words: bytes) -> bytes:
    """One command."""
    return b"*%d" % len(words) + b"".join(map(argument, words)) + b"\r\n"


class Connection:
    """`ask(bytes, n, then)` calls then(n replies), in order."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies: list = []
        self.reader = hiredis.Reader(notEnoughData=NO_MORE)
        self.out: list[bytes] = []
        self.waiting: deque[tuple[int, Callable[[list], None]]] = deque()
        self.buffer = bytearray(RECEIVED_BYTES)

    def now(self, *words: bytes) -> object:
        """The reply to one command, at once."""
        self.socket.sendall(command(*words))
        while (reply := self.reader.gets()) is NO_MORE:
            self.reader.feed(self.socket.recv(RECEIVED_BYTES))
        return reply

    def begin(self, poll: select.epoll) -> None:
        """From now on by `ask`."""
        self.socket.setblocking(False)
        poll.register(self.socket, select.EPOLLIN)
        self.poll, self.watched = poll, select.EPOLLIN

    def ask(self, request: bytes, count: int, then: Callable[[list], None]) -> None:
        """Queue a request."""
        self.out.append(request)
        self.waiting.append((count, then))

    def send(self) -> None:
        """Send what the kernel takes."""
        while self.out:
            try:
                sent = self.socket.send(self.out[0])
            except BlockingIOError:
                break
            if sent == len(self.out[0]):
                del self.out[0]
            else:
                self.out[0] = self.out[0][sent:]
        wanted = select.EPOLLIN | (select.EPOLLOUT if self.out else 0)
        if wanted != self.watched:
            self.poll.modify(self.socket, wanted)
            self.watched = wanted

    def receive(self) -> None:
        """Take what came, and call whoever waits for it."""
        size = self.socket.recv_into(self.buffer)
        if not size:
            raise EOFError
        for begin in range(0, size, FED_BYTES):
            self.reader.feed(self.buffer, begin, min(FED_BYTES, size - begin))  # type: ignore[arg-type]
            self.replies.extend(iter(self.reader.gets, NO_MORE))
        while self.waiting and len(self.replies) >= self.waiting[0][0]:
            count, then = self.waiting.popleft()
            mine, self.replies = self.replies[:count], self.replies[count:]
            then(mine)


class Lane:
    """One stretch of one node's cursors."""

    def __init__(self, source: Connection, target: Connection, cursor: int, ends: Callable[[int], bool], slots: bool):
        self.source, self.target, self.cursor, self.ends, self.slots = source, target, cursor, ends, slots
        self.done = False
        self.scan()

    def scan(self) -> None:
        """Ask for the next keys."""
        self.source.ask(command(b"SCAN", b"%d" % self.cursor, b"COUNT", b"%d" % SCAN_KEYS), 1, self.scanned)

    def scanned(self, replies: list) -> None:
        """Ask for the values and the expiries."""
        cursor, keys = replies[0]
        self.cursor = int(cursor)
        last = self.ends(self.cursor)
        arguments = list(map(argument, keys))
        if self.slots:
            slots = [crc_hqx(key, 0) & 16383 for key in keys]
            runs = [len(list(run)) for _, run in groupby(slots)]
        else:
            runs = []
        pieces = []
        begin = 0
        for run in runs:
            pieces.append(b"*%d\r\n$4\r\nMGET" % (run + 1) + b"".join(arguments[begin : begin + run]))
            begin += run
        if not self.slots:
            pieces = [b"*2\r\n$3\r\nGET" + one for one in arguments]
        pieces += [b"*2\r\n$11\r\nPEXPIRETIME" + one for one in arguments]
        values = len(pieces) - len(arguments)

        def read(replies: list) -> None:
            self.write(arguments, runs, replies[:values], replies[values:])
            if last:
                self.done = True
            else:
                self.scan()

        self.source.ask(b"\r\n".join(pieces) + b"\r\n" if pieces else b"", len(pieces), read)

    def write(self, arguments: list[bytes], runs: list[int], values: list, expiries: list[int]) -> None:
        """Write them."""
        if runs:
            values = [value for run in values for value in run]
        lasting = [instant == -1 for instant in expiries]
        pieces = [
            b"*5\r\n$3\r\nSET%b%b\r\n$4\r\nPXAT%b" % (key, argument(value), argument(b"%d" % instant))
            for key, value, instant in zip(arguments, values, expiries)
            if instant > 0
        ]
        if not runs:
            chosen = zip(compress(arguments, lasting), compress(values, lasting))
            pieces += [b"*3\r\n$3\r\nSET%b\r\n$%d\r\n%b" % (key, len(value), value) for key, value in chosen]
        begin = 0
        for run in runs:
            end = begin + run
            chosen = zip(arguments[begin:end], values[begin:end], lasting[begin:end])
            pairs = [b"%b\r\n$%d\r\n%b" % (key, len(value), value) for key, value, never in chosen if never]
            if pairs:
                pieces.append(b"*%d\r\n$4\r\nMSET" % (2 * len(pairs) + 1) + b"".join(pairs))
            begin = end
        if pieces:
            self.target.ask(b"\r\n".join(pieces) + b"\r\n", len(pieces), lambda _: None)


def masters(port: int) -> list[tuple[int, int, int]]:
    """(first slot, last slot, port), by slot."""
    return sorted((first, last, node[1]) for first, last, node, *_ in Connection(port).now(b"CLUSTER", b"SLOTS"))


def reverse(number: int) -> int:
    """The bits of a cursor in the order in which a table is scanned."""
    return int(format(number, "064b")[::-1], 2)


def main(source_port: int, target_port: int) -> None:
    """Copy one cluster to the other."""
    poll = select.epoll()
    pairs, lanes = [], []
    for (first, last, source), (_, _, target) in zip(masters(source_port), masters(target_port), strict=True):
        ours = Connection(source), Connection(target)
        by_slot = b"redis_version:7.0" not in ours[0].now(b"INFO", b"server")
        pairs.append((ours, first, last, by_slot))
    by_fd = {}
    for ours, first, last, by_slot in pairs:
        for connection in ours:
            connection.begin(poll)
            by_fd[connection.socket.fileno()] = connection
        for number in range(LANES_A_NODE):
            if by_slot:
                share = (last + 1 - first) // LANES_A_NODE
                begin = first + number * share
                stop = last + 1 if number == LANES_A_NODE - 1 else begin + share
                ends = lambda cursor, stop=stop: not cursor or cursor & 16383 >= stop  # noqa: E731
                lanes.append(Lane(*ours, begin, ends, True))
            else:
                begin, stop = ((number + i) * (1 << 64) // LANES_A_NODE for i in (0, 1))
                ends = lambda cursor, stop=stop: not cursor or reverse(cursor) >= stop  # noqa: E731
                lanes.append(Lane(*ours, reverse(begin), ends, False))
    connections = list(by_fd.values())
    while not all(lane.done for lane in lanes) or any(connection.waiting for connection in connections):
        for connection in connections:
            if connection.out:
                connection.send()
        for fd, events in poll.poll():
            if events & select.EPOLLIN:
                by_fd[fd].receive()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
