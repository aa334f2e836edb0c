"""Fills a server or cluster with data of all its types and encodings, under awkward names, the same for a seed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from .clusterwire import ClusterConnection
from .keyspace import Database
from .servers import Server
from .shapes import EXTRAS, FAR_MS, SHAPES, Shape
from .wire import Command, Refused, ServerError

#: The share of keys with an expiry.
EXPIRING = 0.25

#: Small strings in one MSET.
STRINGS_A_TIME = 1_000

#: Hash tags among which tagged names are spread.
TAGS = 50

#: The share of keys with an odd name.
ODD = 0.1

#: Key names that a copy may trip over; each gets the key's number, so that no two are the same.
ODD_NAMES = (
    b"line\r\nbreak:%d",
    b"nul\x00:%d",
    b"not utf-8 \xff\xc3\x28:%d",
    b"two  spaces %d ",
    b"{tag}:%d",
    b"{}{tag %d}",
    b"glob*?[a-z]\\:%d",
    b"\x1b]0;title\x07:%d",
    b"quote\"'%d",
    "ключ→%d".encode(),
    b"$5\r\n%d",
    b"long:" + b"x" * 1_000 + b"%d",
)


@dataclass
class Summary:
    """What `fill` wrote, counted. `examples` and `encodings`: for each shape one key, and its OBJECT ENCODING."""

    keys: int = 0
    expiring: int = 0
    types: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, bytes] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)

    def count(self, shape: Shape, key: bytes, encoding: str) -> None:
        """Enter one key."""
        self.keys += 1
        self.types[shape.type] += 1
        self.shapes[shape.name] += 1
        if shape.name not in self.examples:
            self.examples[shape.name] = key
            self.encodings[shape.name] = encoding


def fill(
    server: Database,
    keys: int = 1_000,
    seed: int = 1,
    *,
    db: int = 0,
    extras: Collection[str] = (),
    now_ms: int | None = None,
    tagged: float = 0.0,
) -> Summary:
    """Write `keys` keys into database `db` of a server or a cluster, and the extras.

    There is at least one key of every shape that the kind of server has.
    `extras` are out of "huge string" (64 MB), "huge hash" (1 M fields) and "vector set" (8.2 only; elsewhere left out);
    they do not count among `keys`. About a quarter of the keys expire: half of those in the year 2100, half in 2 to 30
    hours from `now_ms` (default: now). Keys that are there are written over or into: use an empty database.
    The share `tagged` of the names has a hash tag, one of TAGS, so that in a cluster they share slots.
    Raises Refused when the server refuses a command.
    """
    summary = Summary()
    random = Random(f"keyferry {seed}")
    shapes = _plan(server.kind, random, keys)
    shapes += [EXTRAS[name] for name in extras if EXTRAS[name].encoding(server.kind)]
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    pairs = _commands(server.kind, random, shapes, now_ms, summary, tagged)
    with server.connect(db) as connection:
        if isinstance(connection, ClusterConnection):
            replies = connection.routed(pairs)
        else:
            replies = connection.pipeline(command for _, command in pairs)
    for reply in replies:
        if isinstance(reply, ServerError):
            raise Refused(f"the data set was refused: {reply}")
    return summary


def fill_large(server: Server, keys: int, typed: int = 3_000) -> None:
    """Write `typed` keys as `fill` does, and small strings up to `keys`: they cost little to write and to compare."""
    fill(server, typed)
    with server.connect() as connection:
        for start in range(typed, keys, STRINGS_A_TIME):
            numbers = range(start, min(start + STRINGS_A_TIME, keys))
            connection.must("MSET", *(word for number in numbers for word in (b"small:%d" % number, b"%d" % number)))


def _plan(kind: str, random: Random, keys: int) -> list[Shape]:
    """The shape of each key: each shape once, then a draw by weight."""
    known = [shape for shape in SHAPES if shape.encoding(kind)]
    heights = list(accumulate(shape.weight for shape in known))
    return known + random.choices(known, cum_weights=heights, k=max(0, keys - len(known)))


def _commands(
    kind: str, random: Random, shapes: Iterable[Shape], now_ms: int, summary: Summary, tagged: float
) -> Iterator[tuple[bytes, Command]]:
    """Each command with its key."""
    for number, shape in enumerate(shapes):
        key = _name(random, shape, number, tagged)
        summary.count(shape, key, shape.encoding(kind) or "")
        for command in shape.make(random, key):
            yield key, command
        if random.random() < EXPIRING:
            summary.expiring += 1
            yield key, ("PEXPIREAT", key, _expiry_ms(random, now_ms))


def _name(random: Random, shape: Shape, number: int, tagged: float) -> bytes:
    if number == 0:
        return b""
    if tagged and random.random() < tagged:
        return b"{tag %d}:%s:%d" % (random.randrange(TAGS), shape.type.encode(), number)
    if random.random() < ODD:
        return random.choice(ODD_NAMES) % number
    return b"%s:%d" % (shape.type.encode(), number)


def _expiry_ms(random: Random, now_ms: int) -> int:
    if random.random() < 0.5:
        return FAR_MS + random.randrange(10**9)
    return now_ms + random.randrange(2 * 3_600_000, 30 * 3_600_000)
