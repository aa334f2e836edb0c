"""Servers and clusters filled with keys that tests count on, and what they hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from .clusters import Cluster
from .compare import all_keys
from .servers import Server

#: What a copy leads from, or to.
Side = Server | Cluster


def write_strings(server: Server, count: int, size: int = 20, *, db: int = 0, prefix: str = "key:") -> None:
    """Plain strings without an expiry."""
    with server.connect(db) as connection:
        connection.pipeline(("SET", f"{prefix}{number}", b"v" * size) for number in range(count))


def keyspace(server: Server) -> dict[int, set[bytes]]:
    """The keys of each database that holds any."""
    return {int(name[2:]): all_keys(server, int(name[2:])) for name in server.info("keyspace") if name[:2] == "db"}


def strings_and_hashes(server: Callable[[str], Server]) -> tuple[Server, Server]:
    """A source with 100 strings and 20 hashes, and an empty target."""
    source, target = server("7.0"), server("9.1")
    write_strings(source, 100)
    with source.connect() as connection:
        connection.pipeline(("HSET", f"hash:{number}", "field", "value") for number in range(20))
    return source, target


def names(prefix: str, numbers: Iterable[int]) -> set[bytes]:
    """The keys `prefix:number`."""
    return {f"{prefix}:{number}".encode() for number in numbers}


def write_keys(server: Server, keys: list[bytes]) -> None:
    """Strings that tell their key."""
    with server.connect() as connection:
        for begin in range(0, len(keys), 1000):
            words = [word for key in keys[begin : begin + 1000] for word in (key, b"value of " + key)]
            connection.pipeline([("MSET", *words)])


def write_and_rest(server: Server, keys: list[bytes]) -> None:
    """Write, and wait until the table has its size: while keys move between two tables, none is at rest."""
    write_keys(server, keys)
    deadline = time.monotonic() + 60
    while b"rehashing target" in server.call("DEBUG", "HTSTATS", "0"):
        assert time.monotonic() < deadline, "the server does not end its rehashing"
        time.sleep(0.01)


def keys_of(side: Side) -> int:
    """How many keys there are."""
    return side.dbsize() if isinstance(side, Cluster) else int(side.call("DBSIZE"))


def write_many(side: Side, count: int) -> None:
    """Strings, enough of them that databases are cut; a tenth of them in one slot."""
    with side.connect() as connection:
        commands = ((b"SET", b"{hot}:%d" % n if n % 10 == 0 else b"key:%d" % n, b"value %d" % n) for n in range(count))
        assert set(connection.pipeline(commands)) == {b"OK"}


def write_numbers(cluster: Cluster, count: int) -> None:
    """Strings that tell their number, on all masters."""
    with cluster.connect() as connection:
        assert set(connection.pipeline((b"SET", b"key:%d" % n, b"%d" % n) for n in range(count))) == {b"OK"}
