"""Keys of all types and encodings, and for each a list of changes that a comparison has to find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .servers import Server
from .shapes import DELIVERED_MS, FAR_MS
from .wire import Command, ServerError

#: Elements that make a collection large: no compact encoding on any version.
LARGE = 700


@dataclass(frozen=True)
class Base:
    """A value: `build(key)` makes it, `changes` are (name, commands with KEY for the key)."""

    name: str
    commands: list[Command]  # with KEY in the place of the key
    changes: list[tuple[str, list[Command]]]
    since: str = "6.2"  # the first kind of server that has it; "7.4" = field expiries


@dataclass(frozen=True)
class Mutation:
    """One key, how it is made on both sides, and what is then done to it at the target."""

    key: str
    build: list[Command]
    change: list[Command]
    kind: str
    since: str = "6.2"


KEY = "KEY"


def mutations() -> Iterator[Mutation]:
    """Every change of every base, each under a key of its own."""
    for base in BASES:
        changes = [(name, commands, "value") for name, commands in base.changes] + [
            ("key: deleted", [("DEL", KEY)], "only at source"),
            ("key: another type", _another_type(base), "type"),
            ("key: an expiry added", [("PEXPIREAT", KEY, FAR_MS)], "expiry"),
        ]
        for name, commands, kind in changes:
            yield _mutation(f"{base.name}: {name}", base, base.commands, commands, kind)
        expiring = [*base.commands, ("PEXPIREAT", KEY, FAR_MS)]
        for name, change in (
            ("key: a second later", ("PEXPIREAT", KEY, FAR_MS + 1000)),
            ("key: a second earlier", ("PEXPIREAT", KEY, FAR_MS - 1000)),
            ("key: expiry removed", ("PERSIST", KEY)),
        ):
            yield _mutation(f"{base.name}: {name}", base, expiring, [change], "expiry")
        key = f"{base.name}: one more key"
        yield Mutation(key, [], _named(base.commands, key), "only at target", base.since)


def _another_type(base: Base) -> list[Command]:
    other: Command = ("SADD", KEY, "a") if base.commands[0][0] in ("SET", "SETBIT", "PFADD") else ("SET", KEY, "a")
    return [("DEL", KEY), other]


def _mutation(key: str, base: Base, build: list[Command], change: list[Command], kind: str) -> Mutation:
    return Mutation(key, _named(build, key), _named(change, key), kind, base.since)


def _named(commands: list[Command], key: str) -> list[Command]:
    return [tuple(key if part == KEY else part for part in command) for command in commands]


def _words(count: int, size: int = 6) -> list[str]:
    random = Random(count * 1000 + size)
    return [f"{number}-{random.randbytes(size).hex()}" for number in range(count)]


def _pushes(words: list[str]) -> list[Command]:
    return [("RPUSH", KEY, *words[at : at + 200]) for at in range(0, len(words), 200)]


def _hash(words: list[str]) -> list[Command]:
    return [("HSET", KEY, *(part for word in words for part in (f"f{word}", f"v{word}")))]


def _zset(words: list[str]) -> list[Command]:
    return [("ZADD", KEY, *(part for n, word in enumerate(words) for part in (n * 0.5, word)))]


def _strings() -> Iterator[Base]:
    for name, value in (("int", "123456"), ("short", "abcdef"), ("raw", "x" * 100), ("large", "y" * 70_000)):
        at = len(value) // 2
        yield Base(f"string {name}", [("SET", KEY, value)], [
            ("first byte", [("SETRANGE", KEY, 0, "9")]),
            ("middle byte", [("SETRANGE", KEY, at, "8")]),
            ("last byte", [("SETRANGE", KEY, len(value) - 1, "7")]),
            ("one byte more", [("APPEND", KEY, "0")]),
            ("one byte less", [("SET", KEY, value[:-1])]),
        ])  # fmt: skip
    yield Base("string huge", [("SET", KEY, b"z" * 2_200_000)], [("last byte", [("SETRANGE", KEY, 2_199_999, "1")])])
    yield Base("bitmap", [("SETBIT", KEY, n, 1) for n in (1, 77, 900)], [("a bit", [("SETBIT", KEY, 500, 1)])])
    yield Base("hyperloglog", [("PFADD", KEY, *_words(20))], [("an element", [("PFADD", KEY, "another one")])])
    counted: list[Command] = [("PFADD", KEY, *_words(20)), ("PFCOUNT", KEY)]
    yield Base("hyperloglog counted", counted, [("what PFCOUNT says", [("SETRANGE", KEY, 8, "9")])])
    dense: list[Command] = [("PFADD", KEY, *_words(200, n)) for n in range(3, 43)]
    yield Base("hyperloglog dense", dense, [("elements", [("PFADD", KEY, *_words(300, 2))])])


def _collections() -> Iterator[Base]:
    for name, count in (("small", 12), ("large", LARGE)):
        words = _words(count)
        first, middle, last = words[0], words[count // 2], words[-1]
        yield Base(f"list {name}", _pushes(words), [
            ("first", [("LSET", KEY, 0, "other")]), ("middle", [("LSET", KEY, count // 2, "other")]),
            ("last", [("LSET", KEY, -1, "other")]), ("pushed", [("RPUSH", KEY, "other")]), ("popped", [("LPOP", KEY)]),
            ("order", [("LSET", KEY, 1, words[2]), ("LSET", KEY, 2, words[1])]),
        ])  # fmt: skip
        yield Base(f"set {name}", [("SADD", KEY, *words)], [
            ("added", [("SADD", KEY, "other")]), ("removed", [("SREM", KEY, middle)]),
            ("replaced", [("SREM", KEY, last), ("SADD", KEY, "other")]),
        ])  # fmt: skip
        numbers = range(count)
        yield Base(f"intset {name}", [("SADD", KEY, *numbers)], [
            ("added", [("SADD", KEY, 10**6)]), ("replaced", [("SREM", KEY, 3), ("SADD", KEY, -3)]),
        ])  # fmt: skip
        yield Base(f"hash {name}", _hash(words), [
            ("value", [("HSET", KEY, f"f{middle}", "other")]), ("field added", [("HSET", KEY, "other", "value")]),
            ("field removed", [("HDEL", KEY, f"f{first}")]),
            ("field renamed", [("HDEL", KEY, f"f{last}"), ("HSET", KEY, "other", f"v{last}")]),
            ("values swapped", [("HSET", KEY, f"f{first}", f"v{last}", f"f{last}", f"v{first}")]),
        ])  # fmt: skip
        expiries: Command = ("HPEXPIREAT", KEY, FAR_MS, "FIELDS", 2, f"f{first}", f"f{middle}")
        yield Base(f"hash of expiring fields {name}", [*_hash(words), expiries], [
            ("a second later", [("HPEXPIREAT", KEY, FAR_MS + 1000, "FIELDS", 1, f"f{middle}")]),
            ("expiry removed", [("HPERSIST", KEY, "FIELDS", 1, f"f{first}")]),
            ("expiry added", [("HPEXPIREAT", KEY, FAR_MS, "FIELDS", 1, f"f{last}")]),
            ("value", [("HSET", KEY, f"f{words[3]}", "other")]),
        ], since="8.2")  # fmt: skip
        yield Base(f"zset {name}", _zset(words), [
            ("score", [("ZADD", KEY, 0.25, middle)]), ("score a little", [("ZINCRBY", KEY, "0.000000001", last)]),
            ("added", [("ZADD", KEY, 1, "other")]), ("removed", [("ZREM", KEY, first)]),
            ("renamed", [("ZREM", KEY, last), ("ZADD", KEY, (count - 1) * 0.5, "other")]),
        ])  # fmt: skip


def _streams() -> Iterator[Base]:
    entries: list[Command] = [("XADD", KEY, f"{n}-1", "field", f"value {n}") for n in range(1, 8)]
    yield Base("stream", entries, [
        ("added", [("XADD", KEY, "9-1", "field", "value")]), ("deleted", [("XDEL", KEY, "3-1")]),
        ("last id", [("XSETID", KEY, "99-1")]), ("a group", [("XGROUP", "CREATE", KEY, "group", "0")]),
        ("a value", [("DEL", KEY), *entries[:-1], ("XADD", KEY, "7-1", "field", "other")]),
        ("a field", [("DEL", KEY), *entries[:-1], ("XADD", KEY, "7-1", "fielt", "value 7")]),
        ("trimmed", [("XTRIM", KEY, "MAXLEN", 6)]),
    ])  # fmt: skip
    many: list[Command] = [("XADD", KEY, f"{n}-1", "field", f"value {n}") for n in range(1, 400)]
    yield Base("stream of many nodes", many, [("deleted", [("XDEL", KEY, "377-1")])])
    groups: list[Command] = [
        *entries,
        ("XGROUP", "CREATE", KEY, "readers", "0"),
        ("XGROUP", "CREATE", KEY, "others", "5-1"),
        ("XGROUP", "CREATECONSUMER", KEY, "readers", "idle"),
        ("XREADGROUP", "GROUP", "readers", "ann", "COUNT", 4, "STREAMS", KEY, ">"),
        *(("XCLAIM", KEY, "readers", "ann", 0, f"{n}-1", "TIME", DELIVERED_MS, "RETRYCOUNT", 1) for n in range(1, 5)),
    ]

    def claim(consumer: str, time_ms: int, count: int) -> list[Command]:
        return [("XCLAIM", KEY, "readers", consumer, 0, "2-1", "TIME", time_ms, "RETRYCOUNT", count)]

    yield Base("stream with groups", groups, [
        ("acknowledged", [("XACK", KEY, "readers", "2-1")]),
        ("another consumer", [*claim("bob", DELIVERED_MS, 1)]),
        ("delivered more often", claim("ann", DELIVERED_MS, 5)),
        ("delivered later", claim("ann", DELIVERED_MS + 1000, 1)),
        ("a consumer more", [("XGROUP", "CREATECONSUMER", KEY, "readers", "new")]),
        ("a consumer less", [("XGROUP", "DELCONSUMER", KEY, "readers", "idle")]),
        ("a group less", [("XGROUP", "DESTROY", KEY, "others")]),
        ("a group more", [("XGROUP", "CREATE", KEY, "more", "0")]),
        ("the group's id", [("XGROUP", "SETID", KEY, "others", "6-1")]),
        ("an entry", [("XADD", KEY, "9-1", "field", "value")]),
    ])  # fmt: skip


BASES = [*_strings(), *_collections(), *_streams()]


def apply_all(server: Server, commands: list[Command]) -> None:
    """None of them may be refused."""
    with server.connect() as connection:
        refused = [reply for reply in connection.pipeline(commands) if isinstance(reply, ServerError)]
    assert refused == []
