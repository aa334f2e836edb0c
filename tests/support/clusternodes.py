"""One node of a cluster, and what a node says of the others. For clusters.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import SystemRandom

from redis.crc import key_slot

from .servers import Server

SLOTS = 16_384

#: The bus listens so much above a node's port; Redis 6.2 knows no other place for it.
BUS_OFFSET = 10_000

#: Ports of nodes: below those that the kernel hands out, and so that the bus' port is one too.
PORTS = range(20_000, 32_000)


def slot_of(key: bytes | str) -> int:
    """The slot of a key. By redis-py, which shares no code with the product."""
    return int(key_slot(key.encode() if isinstance(key, str) else key))


def free_port_with_bus() -> int:
    """A port that nobody listens on, nor on the bus' port that belongs to it."""
    random = SystemRandom()
    while True:
        port = random.choice(PORTS)
        try:
            with socket.socket() as one, socket.socket() as other:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + BUS_OFFSET))
                return port
        except OSError:
            continue


class Node(Server):
    """A server in cluster mode. It knows nobody at first. Options as for Server."""

    _id = ""

    @property
    def id(self) -> str:
        """What the cluster calls the node, also after it was killed and started again."""
        if not self._id:
            with self.connect() as connection:
                self._id = connection.must("CLUSTER", "MYID").decode()
        return self._id

    def cluster_info(self) -> dict[str, str]:
        """CLUSTER INFO as field → value."""
        with self.connect() as connection:
            lines = connection.must("CLUSTER", "INFO").decode().split()
        return dict(line.split(":", 1) for line in lines)

    def _choose_port(self) -> int:
        return free_port_with_bus()

    def __repr__(self) -> str:
        return f"<node {self.kind} {self.address}>"


@dataclass(frozen=True)
class Seen:
    """A node as another one sees it: a line of CLUSTER NODES. `open` are its slots that migrate or are imported."""

    id: str
    address: str
    flags: frozenset[str]
    master: str  # its master's id; "-": it is one
    epoch: int
    connected: bool
    slots: frozenset[int] = field(repr=False)
    open: tuple[str, ...]

    @property
    def told(self) -> set[str]:
        """host:port by address and by name, as clients may be told. The line has ip:port@bus[,name]."""
        place, _, name = self.address.partition(",")
        address = place.partition("@")[0]
        return {address, f"{name}:{address.rpartition(':')[2]}"}

    @property
    def failed(self) -> bool:
        """Whether it is thought to be gone, or is not quite known yet."""
        return bool(self.flags & {"fail", "fail?", "handshake", "noaddr"})

    @property
    def is_replica(self) -> bool:
        """Whether it follows a master."""
        return "slave" in self.flags


def nodes_seen(node: Node) -> list[Seen]:
    """CLUSTER NODES of the node."""
    with node.connect(timeout_s=10) as connection:
        return [_seen(line) for line in connection.must("CLUSTER", "NODES").decode().splitlines()]


def _seen(line: str) -> Seen:
    id, address, flags, master, _ping, _pong, epoch, link, *slots = line.split()
    plain = [text for text in slots if not text.startswith("[")]
    return Seen(
        id, address, frozenset(flags.split(",")), master, int(epoch), link == "connected",
        frozenset(slot for text in plain for slot in _range(text)), tuple(text for text in slots if text[0] == "["),
    )  # fmt: skip


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def ranges(slots: frozenset[int] | set[int] | list[int] | range) -> Iterator[tuple[int, int]]:
    """The slots as (first, last) of each run."""
    run: list[int] = []
    for slot in sorted(slots):
        if run and slot != run[-1] + 1:
            yield run[0], run[-1]
            run = []
        run.append(slot)
    if run:
        yield run[0], run[-1]
