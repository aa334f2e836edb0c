"""The bare loop between clusters: the commands of a copy from one process in plain Python, with nothing around them.

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
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, compress, groupby, islice

import hiredis

SLOTS = 1 << 14
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


@dataclass
class Lane:
    """One stretch of one node's cursors: scan, read, write, scan again; writes are not waited for."""

    source: Connection
    target: Connection
    cursor: int
    is_over: Callable[[int], bool]  # whether a cursor lies behind the stretch
    by_slot: bool
    done: bool = False

    def scan(self) -> None:
        """Ask for the next keys."""
        self.source.ask(command(b"SCAN", b"%d" % self.cursor, b"COUNT", b"%d" % SCAN_KEYS), 1, self.read)

    def read(self, replies: list) -> None:
        """Ask for the values and the expiries of what was scanned."""
        cursor, keys = replies[0]
        self.cursor = int(cursor)
        if not keys:
            return self.go_on()
        arguments = list(map(argument, keys))
        slots = slots_of(keys) if self.by_slot else []
        reads = mgets(arguments, slots) if slots else [b"*2\r\n$3\r\nGET" + one for one in arguments]
        pieces = reads + [b"*2\r\n$11\r\nPEXPIRETIME" + one for one in arguments]

        def came(replies: list) -> None:
            values = list(chain.from_iterable(replies[: len(reads)])) if slots else replies[: len(reads)]
            self.write(arguments, slots, values, replies[len(reads) :])

        self.source.ask(lines(pieces), len(pieces), came)

    def write(self, arguments: list[bytes], slots: list[int], values: list[bytes], expiries: list[int]) -> None:
        """Write keys that expire one by one, the others by slot or one by one."""
        pieces = [
            b"*5\r\n$3\r\nSET%b%b\r\n$4\r\nPXAT%b" % (key, argument(value), argument(b"%d" % instant))
            for key, value, instant in zip(arguments, values, expiries, strict=True)
            if instant > 0
        ]
        lasting = [instant == -1 for instant in expiries]
        chosen = zip(compress(arguments, lasting), compress(values, lasting), strict=True)
        pairs = [b"%b\r\n$%d\r\n%b" % (key, len(value), value) for key, value in chosen]
        pieces += msets(pairs, list(compress(slots, lasting))) if slots else [b"*3\r\n$3\r\nSET" + one for one in pairs]
        self.target.ask(lines(pieces), len(pieces), lambda _: None)
        self.go_on()

    def go_on(self) -> None:
        """To the next step, if there is one."""
        self.done = self.is_over(self.cursor)
        if not self.done:
            self.scan()


def slot_of(key: bytes) -> int:
    """The slot of a key without a hash tag."""
    return crc_hqx(key, 0) % SLOTS


def slots_of(keys: list[bytes]) -> list[int]:
    """The slot of each of some keys that come slot by slot: where each slot ends is looked for."""
    slots: list[int] = []
    while (begin := len(slots)) < len(keys):
        slot = slot_of(keys[begin])
        slots += [slot] * (bisect_right(keys, slot, begin, key=slot_of) - begin)
    return slots


def lines(pieces: list[bytes]) -> bytes:
    """Commands without their last line's end, as one request."""
    return b"\r\n".join(pieces) + b"\r\n"


def by_runs(pieces: list[bytes], slots: list[int]) -> Iterator[list[bytes]]:
    """What belongs to the keys of each slot, of keys that come slot by slot."""
    rest = iter(pieces)
    for _, run in groupby(slots):
        yield list(islice(rest, len(list(run))))


def mgets(arguments: list[bytes], slots: list[int]) -> list[bytes]:
    """An MGET for each slot."""
    return [b"*%d\r\n$4\r\nMGET" % (len(run) + 1) + b"".join(run) for run in by_runs(arguments, slots)]


def msets(pairs: list[bytes], slots: list[int]) -> list[bytes]:
    """An MSET for each slot."""
    return [b"*%d\r\n$4\r\nMSET" % (2 * len(run) + 1) + b"".join(run) for run in by_runs(pairs, slots)]


def masters(port: int) -> list[tuple[int, int, int]]:
    """(first slot, last slot, port), by slot."""
    return sorted((first, last, node[1]) for first, last, node, *_ in Connection(port).now(b"CLUSTER", b"SLOTS"))  # type: ignore[attr-defined]


def reverse(number: int) -> int:
    """The bits of a cursor in the order in which a table is scanned."""
    return int(format(number, "064b")[::-1], 2)


def lanes_of(source: Connection, target: Connection, first: int, last: int) -> Iterator[Lane]:
    """A node's lanes: each has a part of its slots, or, where cursors do not go by slot, of its table."""
    by_slot = b"redis_version:7.0" not in source.now(b"INFO", b"server")  # type: ignore[operator]
    for number in range(LANES_A_NODE):
        if by_slot:
            begin, stop = (first + (last + 1 - first) * part // LANES_A_NODE for part in (number, number + 1))
            yield Lane(source, target, begin, lambda cursor, stop=stop: not cursor or cursor % SLOTS >= stop, True)  # type: ignore[misc]
        else:
            begin, stop = ((part << 64) // LANES_A_NODE for part in (number, number + 1))
            is_over = lambda cursor, stop=stop: not cursor or reverse(cursor) >= stop  # noqa: E731
            yield Lane(source, target, reverse(begin), is_over, False)


def main(source_port: int, target_port: int) -> None:
    """Copy one cluster to the other."""
    poll = select.epoll()
    connections: dict[int, Connection] = {}
    lanes: list[Lane] = []
    for (first, last, source), (_, _, target) in zip(masters(source_port), masters(target_port), strict=True):
        pair = Connection(source), Connection(target)
        lanes += lanes_of(*pair, first, last)
        for connection in pair:
            connection.begin(poll)
            connections[connection.socket.fileno()] = connection
    for lane in lanes:
        lane.scan()
    while not all(lane.done for lane in lanes) or any(connection.waiting for connection in connections.values()):
        for connection in connections.values():
            if connection.out:
                connection.send()
        for fd, events in poll.poll():
            if events & select.EPOLLIN:
                connections[fd].receive()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
