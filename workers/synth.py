"""The data set that `keyferry generate` writes, as raw RESP: pure functions of a `Spec`, no sockets, no clock.

HOW IT WORKS
The keys are numbered, and cut into blocks of equal size. A block depends on the spec and on its own number only, so
any worker may write any block in any order: equal specs give equal servers. More keys begin with the same ones.

WHAT HAPPENS IF a key is there already: MSET and SET replace it, whatever its type and expiry; every other key of the
block is unlinked first. So a run may be repeated, or started again after it broke off, and ends with the same data.

LIMITATIONS
Consumers of stream groups carry the server's clock (seen, active): no command sets it.
The cached count inside a hyperloglog is the server's: PFCOUNT changes it.
MSET and UNLINK name keys of a whole block: a block is for one server, not for the nodes of a cluster.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from .synth_values import WORD, WRITERS, Source, bulk

BLOCK_KEYS = 1024  # keys of a block, at most
_BLOCK_BYTES = 1 << 20  # about the values of a block: larger values make blocks of fewer keys
_STRIDE = 64  # bytes between the starts of two strings in their pool: they may overlap, but no two start alike
_NAME_DIGITS = 12  # of the number in a key's name, as redis-benchmark has it
_VALUE_MAX = 512 << 20  # bytes: the longest string a server takes
_TIME_MAX = 1 << 53  # ms: far beyond any date, far below what a server takes

Shares = tuple[tuple[str, float], ...]  # (type, weight): weights are relative

TYPES = ("string", "counter", *WRITERS)
DEFAULT_TYPES = "string=40,counter=5,bitmap=2,hyperloglog=3,hash=20,list=8,set=8,zset=8,geo=2,stream=4"


def parse_types(text: str) -> Shares:
    """The shares that `name=weight,…` asks for, in the order given; types of weight 0 are left out.

    Raises ValueError with a message that names the part that is wrong.
    """
    shares = parse_weights(text, TYPES, "type to generate; the types")
    if not shares:
        raise ValueError(f"{text!r} leaves no type to generate: all weights are 0")
    return shares


def parse_weights(text: str, known: Collection[str], noun: str, plain: str = "") -> Shares:
    """The parts of `name=weight,…` with a weight above 0; `plain` is the weight of a name alone, if it may be alone.

    Raises ValueError; `noun` is what the names are, in the middle of its message.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, sign, weight = (word.strip() for word in part.partition("="))
        if name not in known:
            raise ValueError(f"{name!r} is no {noun} are {', '.join(known)}")
        if name in shares:
            raise ValueError(f"{name} is given twice")
        shares[name] = _weight(part, weight if sign else plain)
    return tuple((name, weight) for name, weight in shares.items() if weight)


def _weight(part: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ValueError(f"{part.strip()!r}: the weight must be a number, 0 or more, as in string=60")
    return weight


DEFAULT_SHARES = parse_types(DEFAULT_TYPES)


@dataclass(frozen=True)
class Spec:
    """What to generate. Raises ValueError for values that no server could hold."""

    keys: int  # exactly as many distinct keys
    prefix: bytes = b"key:"
    shares: Shares = DEFAULT_SHARES
    size_min: int = 10  # bytes of an element
    size_max: int = 100
    elements_min: int = 1
    elements_max: int = 50
    ttl_share: float = 0.0  # 0..1 of the keys get an expiry
    ttl_min_ms: int = 60_000
    ttl_max_ms: int = 3_600_000
    seed: int = 0
    epoch_ms: int = 0  # expiries count from it; ms since 1970
    binary: bool = False  # names and values of all byte values, CRLF and NUL too

    def __post_init__(self) -> None:
        rules = (
            (0 <= self.keys <= 10**_NAME_DIGITS, f"keys must be 0 to 10**{_NAME_DIGITS}"),
            (bool(self.shares) and all(name in TYPES for name, _ in self.shares), "shares must name known types"),
            (all(0 < weight < math.inf for _, weight in self.shares), "the weights of shares must be above 0"),
            (0 <= self.size_min <= self.size_max <= _VALUE_MAX, f"sizes must be 0 to {_VALUE_MAX} bytes, least first"),
            (1 <= self.elements_min <= self.elements_max < WORD, f"elements must be 1 to {WORD - 1}, least first"),
            (0 <= self.ttl_share <= 1, "ttl_share must be 0 to 1"),
            (1 <= self.ttl_min_ms <= self.ttl_max_ms < _TIME_MAX, "ttls must be 1 ms or more, least first"),
            (0 <= self.epoch_ms < _TIME_MAX, "epoch_ms must be a time since 1970"),
            (-(1 << 63) <= self.seed < 1 << 63, "seed must be a number of 64 bits"),
        )
        for holds, message in rules:
            if not holds:
                raise ValueError(message)

    def pack(self) -> dict[str, Any]:
        """The spec as a map, for a worker."""
        return asdict(self)


def unpack(packed: Mapping[str, Any]) -> Spec:
    """The spec that `Spec.pack` described, also after a trip that turned tuples into lists."""
    return Spec(**{**packed, "shares": tuple((name, weight) for name, weight in packed["shares"])})


@dataclass(frozen=True)
class Block:
    """The commands for the keys of one block."""

    requests: bytes  # raw RESP
    replies: int  # one for each command; an error among them means that a key is not as it should be
    keys: int
    value_bytes: int  # of strings, elements and bitmaps; names, fields and scores are not counted


@lru_cache(maxsize=8)
def block_keys(spec: Spec) -> int:
    """Keys of each block but the last: BLOCK_KEYS, or fewer when their values would go far beyond 1 MiB.

    Does not look at `spec.keys`, so that more keys leave the first ones as they are.
    """
    size = (spec.size_min + spec.size_max) / 2
    elements = (spec.elements_min + spec.elements_max) / 2
    single = ("string", "counter", "bitmap")
    expected = sum(weight * size * (1 if name in single else elements) for name, weight in spec.shares)
    expected /= sum(weight for _, weight in spec.shares)
    return max(1, min(BLOCK_KEYS, int(_BLOCK_BYTES / max(expected, 1))))


def block_count(spec: Spec) -> int:
    """The number of blocks, the last of which may be shorter."""
    return -(-spec.keys // block_keys(spec))


def block(spec: Spec, number: int) -> Block:
    """Block `number` of 0..block_count-1: a function of its arguments alone. Raises ValueError for other numbers."""
    laid, source = _begin(spec, number)
    room = block_keys(spec)
    plan = _Plan(room, laid.places, laid.names, _expiries(spec, source, room))
    commands = _strings(plan, source) + _counters(plan, source) + _collections(plan, source, spec)
    return Block(b"".join(commands), len(commands), laid.keys, source.value_bytes)


@dataclass(frozen=True)
class Layout:
    """The keys of a block by name and type; their values are left out."""

    keys: int
    names: list[bytes]  # of a full block, as bulk strings
    places: dict[str, Sequence[int]]  # type -> which keys of the block, ascending; every type of the spec is there


def layout(spec: Spec, number: int) -> Layout:
    """What keys block `number` has: much cheaper than the block. Raises ValueError for numbers that `block` refuses."""
    return _begin(spec, number)[0]


def _begin(spec: Spec, number: int) -> tuple[Layout, Source]:
    """A block's layout, and the randomness that is left for the rest of it."""
    room = block_keys(spec)
    first = number * room
    count = min(room, spec.keys - first)
    if number < 0 or count < 1:
        raise ValueError(f"there is no block {number}")
    source = Source(f"{spec.seed}:{number}", (spec.size_min, spec.size_max), spec.binary)
    places = _places(spec, source, room, count)
    return Layout(count, _names(spec, source, first, room), places), source


@dataclass(frozen=True)
class _Plan:
    """What is drawn for each key before its value.

    Invariant: all draws are for a full block, and depend on the types of the spec, never on which of them occur; then
    collections draw in the order of their keys. So a shorter last block begins as the full one does.
    """

    room: int  # keys of a full block
    places: dict[str, Sequence[int]]  # type -> which keys of the block, ascending; every type of the spec is there
    names: list[bytes]  # of a full block, as bulk strings
    expiries: list[bytes]  # of a full block, in ms since 1970, as bulk strings; empty: none


def _places(spec: Spec, source: Source, room: int, count: int) -> dict[str, Sequence[int]]:
    if len(spec.shares) == 1:
        return {spec.shares[0][0]: range(count)}
    sums = list(accumulate(weight for _, weight in spec.shares))
    steps = [int(total / sums[-1] * WORD) for total in sums[:-1]]  # the last type takes the rest
    places: list[list[int]] = [[] for _ in sums]
    for place, draw in enumerate(source.numbers(room)[:count]):
        places[bisect_right(steps, draw)].append(place)
    return {name: found for (name, _), found in zip(spec.shares, places, strict=True)}


def _names(spec: Spec, source: Source, first: int, room: int) -> list[bytes]:
    """The keys; the number at their end, always as long, keeps them apart."""
    numbers = range(first, first + room)
    if not spec.binary:
        head = b"$%d\r\n%b" % (len(spec.prefix) + _NAME_DIGITS, spec.prefix)
        template = head.replace(b"%", b"%%") + b"%%0%dd\r\n" % _NAME_DIGITS
        return [template % number for number in numbers]
    salts = source.raw(4 * room)
    return [
        bulk(b"%b%b\r\n%b" % (spec.prefix, salts[4 * place : 4 * place + 4], number.to_bytes(6, "big")))
        for place, number in enumerate(numbers)
    ]


def _expiries(spec: Spec, source: Source, room: int) -> list[bytes]:
    share = int(spec.ttl_share * WORD)
    if not share:
        return [b""] * room
    ttls = source.between(room, spec.ttl_min_ms, spec.ttl_max_ms)
    draws = source.numbers(room)
    return [bulk(b"%d" % (spec.epoch_ms + ttl)) if draw < share else b"" for ttl, draw in zip(ttls, draws, strict=True)]


def _strings(plan: _Plan, source: Source) -> list[bytes]:
    if "string" not in plan.places:
        return []
    sizes = source.sizes(plan.room)
    pool = source.noise(_STRIDE * plan.room + source.size_max)
    places = plan.places["string"]
    return _plain(plan, source, places, [pool[_STRIDE * at : _STRIDE * at + sizes[at]] for at in places])


def _counters(plan: _Plan, source: Source) -> list[bytes]:
    """Integers of all magnitudes that INCR can work on; the sizes asked for are not for them."""
    if "counter" not in plan.places:
        return []
    draws = source.signed(plan.room)
    places = plan.places["counter"]
    return _plain(plan, source, places, [b"%d" % (draws[at] >> (draws[at] & 63)) for at in places])


def _plain(plan: _Plan, source: Source, places: Sequence[int], values: list[bytes]) -> list[bytes]:
    """One MSET for the keys that stay, and a SET for each that expires.

    Measured: MSET takes a fifth off the CPU of server and client together against a SET for each.
    """
    source.value_bytes += sum(map(len, values))
    names, ends = plan.names, [plan.expiries[at] for at in places]
    pairs = [b"%b$%d\r\n%b\r\n" % (names[at], len(value), value) for at, value in zip(places, values, strict=True)]
    stays = [pair for pair, end in zip(pairs, ends, strict=True) if not end]
    commands = [b"".join([b"*%d\r\n$4\r\nMSET\r\n" % (1 + 2 * len(stays)), *stays])] if stays else []
    return commands + [
        b"*5\r\n$3\r\nSET\r\n%b$4\r\nPXAT\r\n%b" % (pair, end) for pair, end in zip(pairs, ends, strict=True) if end
    ]


def _collections(plan: _Plan, source: Source, spec: Spec) -> list[bytes]:
    """All keys that are not written by one SET: unlinked together, then each made anew."""
    made = sorted((at, name) for name, places in plan.places.items() if name in WRITERS for at in places)
    if not made:
        return []
    counts = source.between(plan.room, spec.elements_min, spec.elements_max)
    keys = b"".join([plan.names[at] for at, _ in made])
    commands = [b"*%d\r\n$6\r\nUNLINK\r\n%b" % (1 + len(made), keys)]
    for at, name in made:
        commands += WRITERS[name](source, plan.names[at], counts[at])
        if plan.expiries[at]:
            commands.append(b"*3\r\n$9\r\nPEXPIREAT\r\n%b%b" % (plan.names[at], plan.expiries[at]))
    return commands
