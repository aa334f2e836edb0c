"""The shapes of value that a data set is made of: for each how to make one, and the encodings that it must get.

A shape's `make(random, key)` gives the commands that build the value at `key`, an absent key. They depend on nothing
but the random generator, so equal seeds give equal data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from .wire import Arg, Command

Commands = list[list[Arg]]

Make = Callable[[Random, bytes], Iterable[Command]]

#: A point in time far away (1 January 2100), ms: expiries counted from here never come during a test.
FAR_MS = 4_102_444_800_000

#: When the entries of a group were last delivered, ms: fixed, so that equal seeds give equal streams.
DELIVERED_MS = 1_700_000_000_000

#: Elements of a collection too large for its compact encoding, whatever the server's default limits are.
LARGE = 1_500


@dataclass(frozen=True)
class Shape:
    """How a value looks. `weight` is its share among the bulk of keys; 0: it occurs once, if at all.

    `encodings` says what OBJECT ENCODING answers, from the kind named on; kinds before the first, and those with
    "", have no such shape.
    """

    name: str
    type: str
    weight: float
    encodings: dict[str, str]
    make: Make

    def encoding(self, kind: str) -> str | None:
        """What OBJECT ENCODING must say on a server of this kind; None: the kind has no such value."""
        known = [encoding for since, encoding in self.encodings.items() if since <= kind]
        return (known[-1] if known else "") or None


#: The shapes that every data set has.
SHAPES: list[Shape] = []

#: Shapes that a test asks for by name.
EXTRAS: dict[str, Shape] = {}


def shape(
    name: str, type: str, weight: float, encoding: str | dict[str, str], *, extra: bool = False
) -> Callable[[Make], Make]:
    """Enter the decorated function in SHAPES, or in EXTRAS. An encoding that is a plain text holds from 6.2 on."""
    encodings = {"6.2": encoding} if isinstance(encoding, str) else encoding

    def enter(make: Make) -> Make:
        made = Shape(name, type, weight, encodings, make)
        if extra:
            EXTRAS[name] = made
        else:
            SHAPES.append(made)
        return make

    return enter


#: The compact encoding of hashes and sorted sets.
PACKED = {"6.2": "ziplist", "7.0": "listpack"}


def word(random: Random) -> bytes:
    """A short text, different nearly every time."""
    return b"%x" % random.getrandbits(40)


def words(random: Random, low: int = 2, high: int = 8) -> list[bytes]:
    """Between `low` and `high` different short texts."""
    count = random.randint(low, high)
    return list({word(random): None for _ in range(count)})


def binary(random: Random) -> bytes:
    """Bytes that are neither text nor free of what separates RESP."""
    return b"\x00\r\n\xff$-1\r\n" + random.randbytes(random.randint(1, 12))


# ---- strings --------------------------------------------------------------------------------------------------------


@shape("int", "string", 8, "int")
def _int(random: Random, key: bytes) -> Commands:
    return [["SET", key, random.randint(-(2**63), 2**63 - 1)]]


@shape("embstr", "string", 20, "embstr")
def _embstr(random: Random, key: bytes) -> Commands:
    return [["SET", key, b"v" + word(random)]]


@shape("raw", "string", 10, "raw")
def _raw(random: Random, key: bytes) -> Commands:
    return [["SET", key, random.randbytes(random.randint(130, 400))]]


@shape("compressible", "string", 4, "raw")
def _compressible(random: Random, key: bytes) -> Commands:
    return [["SET", key, word(random) * random.randint(20, 200)]]


@shape("incompressible", "string", 0, "raw")
def _incompressible(random: Random, key: bytes) -> Commands:
    return [["SET", key, random.randbytes(100_000)]]


@shape("binary", "string", 4, "embstr")
def _binary(random: Random, key: bytes) -> Commands:
    return [["SET", key, binary(random)]]


@shape("empty value", "string", 1, "embstr")
def _empty_value(random: Random, key: bytes) -> Commands:
    return [["SET", key, b""]]


@shape("counter", "string", 4, "int")
def _counter(random: Random, key: bytes) -> Commands:
    return [["INCRBY", key, random.randint(-5, 5)], ["INCR", key]]


@shape("bitmap", "string", 2, "raw")
def _bitmap(random: Random, key: bytes) -> Commands:
    return [["SETBIT", key, random.randint(1_500, 4_000), 1], ["SETBIT", key, random.randint(0, 100), 1]]


@shape("hll sparse", "string", 2, "raw")
def _hll_sparse(random: Random, key: bytes) -> Commands:
    return [["PFADD", key, *words(random)]]


@shape("hll dense", "string", 0.02, "raw")
def _hll_dense(random: Random, key: bytes) -> Commands:
    return [["PFADD", key, *words(random, 3_000, 3_000)]]


# ---- lists ----------------------------------------------------------------------------------------------------------


@shape("list small", "list", 6, {"6.2": "quicklist", "8.2": "listpack"})
def _list_small(random: Random, key: bytes) -> Commands:
    return [["RPUSH", key, *words(random), random.randint(-300, 300), b"", binary(random)]]


@shape("list large", "list", 0.02, "quicklist")
def _list_large(random: Random, key: bytes) -> Commands:
    return [["RPUSH", key, *words(random, LARGE, LARGE)], ["LPUSH", key, random.randbytes(50)]]


@shape("list with a big element", "list", 0.02, "quicklist")
def _list_big_element(random: Random, key: bytes) -> Commands:
    return [["RPUSH", key, b"small", random.randbytes(20_000), b"after"]]


# ---- sets -----------------------------------------------------------------------------------------------------------


@shape("set of ints", "set", 4, "intset")
def _set_of_ints(random: Random, key: bytes) -> Commands:
    wide = random.choice([100, 2**31, 2**62])
    return [["SADD", key, *(random.randint(-wide, wide) for _ in range(random.randint(1, 9)))]]


@shape("set small", "set", 5, {"6.2": "hashtable", "8.2": "listpack"})
def _set_small(random: Random, key: bytes) -> Commands:
    return [["SADD", key, *words(random), b"", binary(random)]]


@shape("set large", "set", 0.02, "hashtable")
def _set_large(random: Random, key: bytes) -> Commands:
    return [["SADD", key, *words(random, LARGE, LARGE)]]


# ---- hashes ---------------------------------------------------------------------------------------------------------


def _pairs(random: Random, fields: list[bytes]) -> list[Arg]:
    return [part for field in fields for part in (field, word(random))]


@shape("hash small", "hash", 10, PACKED)
def _hash_small(random: Random, key: bytes) -> Commands:
    return [["HSET", key, *_pairs(random, words(random)), b"", b"", binary(random), binary(random)]]


@shape("hash large", "hash", 0.02, "hashtable")
def _hash_large(random: Random, key: bytes) -> Commands:
    return [["HSET", key, *_pairs(random, words(random, LARGE, LARGE))]]


@shape("hash with a big value", "hash", 0.5, "hashtable")
def _hash_big_value(random: Random, key: bytes) -> Commands:
    return [["HSET", key, b"f", random.randbytes(600), b"g", word(random)]]


def _expire_fields(random: Random, key: bytes, fields: list[bytes]) -> list[Arg]:
    return ["HPEXPIREAT", key, FAR_MS + random.randrange(10**9), "FIELDS", len(fields), *fields]


@shape("hash with expiring fields", "hash", 2, {"8.2": "listpackex", "9.1": "hashtable"})
def _hash_expiring(random: Random, key: bytes) -> Commands:
    fields = words(random, 3, 8)
    pairs = _pairs(random, fields)
    return [["HSET", key, *pairs], _expire_fields(random, key, fields[:1]), _expire_fields(random, key, fields[1:2])]


@shape("hash large with expiring fields", "hash", 0.02, {"8.2": "hashtable"})
def _hash_large_expiring(random: Random, key: bytes) -> Commands:
    fields = words(random, LARGE, LARGE)
    return [["HSET", key, *_pairs(random, fields)], _expire_fields(random, key, fields[::3])]


# ---- sorted sets ----------------------------------------------------------------------------------------------------


@shape("zset small", "zset", 6, PACKED)
def _zset_small(random: Random, key: bytes) -> Commands:
    scores: list[Arg] = ["+inf", "-inf", "-0", "0.1", "1e-300", "17976931348623157e292", random.random()]
    random.shuffle(scores)
    members = words(random, 2, 6) + [binary(random)]
    return [["ZADD", key, *(part for pair in zip(scores, members, strict=False) for part in pair)]]


@shape("zset large", "zset", 0.02, "skiplist")
def _zset_large(random: Random, key: bytes) -> Commands:
    return [["ZADD", key, *(part for member in words(random, LARGE, LARGE) for part in (random.random(), member))]]


@shape("geo", "zset", 2, PACKED)
def _geo(random: Random, key: bytes) -> Commands:
    command: list[Arg] = ["GEOADD", key]
    for name in words(random):
        command += [random.uniform(-180, 180), random.uniform(-85, 85), name]
    return [command]


# ---- streams --------------------------------------------------------------------------------------------------------


def _entries(random: Random, key: bytes, count: int) -> Commands:
    first = random.randint(1, 10**6)
    return [["XADD", key, f"{first + n}-{n % 3 + 1}", "field", word(random), b"", binary(random)] for n in range(count)]


def _ids(entries: Commands) -> list[Arg]:
    return [entry[2] for entry in entries]


@shape("stream", "stream", 2, "stream")
def _stream(random: Random, key: bytes) -> Commands:
    return _entries(random, key, random.randint(1, 4))


@shape("stream of many nodes", "stream", 0.02, "stream")
def _stream_long(random: Random, key: bytes) -> Commands:
    return _entries(random, key, 350)


@shape("stream with deleted entries", "stream", 0.5, "stream")
def _stream_deleted(random: Random, key: bytes) -> Commands:
    entries = _entries(random, key, 8)
    ids = _ids(entries)
    return [*entries, ["XDEL", key, ids[0], ids[3], ids[-1]]]


@shape("stream emptied", "stream", 0.2, "stream")
def _stream_emptied(random: Random, key: bytes) -> Commands:
    entries = _entries(random, key, 2)
    return [*entries, ["XDEL", key, *_ids(entries)]]


@shape("stream with a group only", "stream", 0.2, "stream")
def _stream_group_only(random: Random, key: bytes) -> Commands:
    return [["XGROUP", "CREATE", key, b"group " + word(random), "0", "MKSTREAM"]]


@shape("stream with its id set ahead", "stream", 0.2, "stream")
def _stream_set_id(random: Random, key: bytes) -> Commands:
    return [*_entries(random, key, 2), ["XSETID", key, f"{FAR_MS + random.randrange(10**6)}-7"]]


@shape("stream with counts set", "stream", 0.2, {"7.0": "stream"})
def _stream_counts(random: Random, key: bytes) -> Commands:
    set_id: list[Arg] = ["XSETID", key, f"{FAR_MS}-1", "ENTRIESADDED", 99, "MAXDELETEDID", "5-5"]
    return [*_entries(random, key, 2), set_id, ["XGROUP", "CREATE", key, "counted", "0", "ENTRIESREAD", 42]]


@shape("stream with groups", "stream", 0.5, "stream")
def _stream_groups(random: Random, key: bytes) -> Commands:
    """Two groups, one with three consumers (one idle), entries pending and acknowledged, a pending one deleted."""
    entries = _entries(random, key, 7)
    ids = _ids(entries)
    return [
        *entries,
        ["XGROUP", "CREATE", key, "readers", "0"],
        ["XGROUP", "CREATE", key, b"\x00late\xff", "$"],
        ["XGROUP", "CREATECONSUMER", key, "readers", "idle"],
        ["XREADGROUP", "GROUP", "readers", "ann", "COUNT", 5, "STREAMS", key, ">"],
        ["XACK", key, "readers", ids[1]],
        ["XCLAIM", key, "readers", "ann", 0, ids[0], ids[2], ids[3], "TIME", DELIVERED_MS, "RETRYCOUNT", 1],
        ["XCLAIM", key, "readers", b"b\xc3b", 0, ids[4], "TIME", DELIVERED_MS + 5, "RETRYCOUNT", random.randint(2, 9)],
        ["XDEL", key, ids[2]],
    ]


# ---- what not every test wants --------------------------------------------------------------------------------------


@shape("huge string", "string", 0, "raw", extra=True)
def _huge_string(random: Random, key: bytes) -> Iterator[Command]:
    """64 MB."""
    yield ["SET", key, random.randbytes(1 << 20) * 64]


@shape("huge hash", "hash", 0, "hashtable", extra=True)
def _huge_hash(random: Random, key: bytes) -> Iterator[Command]:
    """A million fields."""
    for start in range(0, 1_000_000, 1_000):
        yield ["HSET", key, *(part for n in range(start, start + 1_000) for part in (b"field:%d" % n, n * 7))]


@shape("vector set", "vectorset", 0, {"8.2": "raw", "9.1": ""}, extra=True)
def _vector_set(random: Random, key: bytes) -> Iterator[Command]:
    """Three vectors; only Redis 8 has the type."""
    for n in range(3):
        yield ["VADD", key, "VALUES", 3, random.random(), random.random(), random.random(), f"element {n}"]
