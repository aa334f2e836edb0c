"""The changes that `keyferry generate --churn` makes to its data set, as raw RESP: no sockets, no clock.

HOW IT WORKS
Changes come in runs. A run draws one block of the data set, so that few names have to be worked out, and then its
operations and their keys. Both draws favour low numbers by the cube of a uniform draw: of a thousand blocks the first
gets a tenth of the changes, and so does the first key of a block. A run depends on the churn and on its own name alone.

WHAT MUST STAY TRUE: an operation only does what the type can bear that `generate` gives the key, whether the key is
there or not, and no key ever changes its type. So no operation is refused for what another one did before.

WHAT HAPPENS IF keys run out: `set` and `grow` make those again that `del` and `rename` took away, and collections
have a bound, so memory does not grow without end.

LIMITATIONS
RENAME takes two keys of a block: a churn is for one server, not for the nodes of a cluster, and values so large that
each has a block of its own are not renamed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from typing import Any

from keyferry.workers.synth import TYPES, Layout, Shares, Spec, block_count, block_keys, layout, parse_weights
from keyferry.workers.synth_values import WORD, WRITERS, Source, bulk

RUN_CHANGES = 128  # operations of a run; fewer where values are large
DEFAULT_OPS = "set=60,grow=20,del=10,expire=5,rename=5"
#: The one error reply that is expected: RENAME of a key that is not there.
NO_SUCH_KEY = "ERR no such key"

_LAYOUTS = 256  # kept for the next runs, of some 100 KB each
_STRIDE = 64  # bytes between the starts of two values in their pool
_LEAST_BOUND = 16  # elements that a collection may grow to, where generate makes it smaller
_TRIM_EVERY = 8  # of so many changes to a list one trims it

Change = tuple[bytes, bool]  # one command, and whether a reply of 0 says that it has changed nothing


@dataclass(frozen=True)
class Churn:
    """What a worker does to the data set of `spec`."""

    spec: Spec
    operations: Shares
    rate: float  # changes a second

    def pack(self) -> dict[str, Any]:
        """The churn as a map, for a worker that has the spec."""
        return {"operations": self.operations, "rate": self.rate}


def unpack(packed: dict[str, Any], spec: Spec) -> Churn:
    """The churn that `Churn.pack` described, also after a trip that turned tuples into lists."""
    return Churn(spec, tuple((name, weight) for name, weight in packed["operations"]), packed["rate"])


def run_of_changes(churn: Churn, name: str) -> list[Change]:
    """The run of that name. It may be shorter than others, or empty, where no key of its block suits an operation."""
    spec = churn.spec
    count = max(1, min(RUN_CHANGES, block_keys(spec) // 8))
    source = Source(f"{spec.seed}:churn:{name}", (spec.size_min, spec.size_max), spec.binary)
    block, *places = _skewed(source, 1 + count)
    ground = _ground(spec, block * block_count(spec) >> 32)
    run = _Run(spec, source, count, ground)
    work = {name: (OPERATIONS[name].append, ground.suited[name]) for name, _ in churn.operations}
    changes: list[Change] = []
    for at, operation in enumerate(_drawn(churn.operations, source, count)):
        append, suited = work[operation]
        if suited:
            append(run, at, suited[places[at] * len(suited) >> 32], changes)
    return changes


def outcome(changes: Sequence[Change], replies: Sequence[object]) -> tuple[int, list[Exception]]:
    """How many of the changes had nothing to change, and the errors that nobody expects."""
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    refused = [error for error in errors if str(error) != NO_SUCH_KEY]
    idle = sum([tells for (_, tells), reply in zip(changes, replies, strict=True) if reply == 0])
    return idle + len(errors) - len(refused), refused


def parse_operations(text: str) -> Shares:
    """The shares that `name=weight,…` asks for; a name alone has the weight 1. Raises ValueError."""
    shares = parse_weights(text, OPERATIONS, "operation; the operations", plain="1")
    if not shares:
        raise ValueError(f"{text!r} leaves no operation: all weights are 0")
    return shares


def operations_for(types: Shares, operations: Shares) -> Shares:
    """Those of the operations that suit one of the types at least."""
    names = {name for name, _ in types}
    return tuple(share for share in operations if names.intersection(OPERATIONS[share[0]].types))


def _skewed(source: Source, count: int) -> list[int]:
    """`count` numbers of 0..WORD-1, low ones more often."""
    return [number**3 >> 64 for number in source.numbers(count)]


def _drawn(operations: Shares, source: Source, count: int) -> list[str]:
    """The names of `count` operations, by weight."""
    sums = list(accumulate(weight for _, weight in operations))
    steps = [int(total / sums[-1] * WORD) for total in sums[:-1]]  # the last one takes the rest
    return [operations[bisect_right(steps, draw)][0] for draw in source.numbers(count)]


@dataclass(frozen=True)
class _Ground:
    """A block as the operations see it."""

    laid: Layout
    kinds: list[str]  # the type of each key
    suited: dict[str, Sequence[int]]  # operation -> the keys that it suits, ascending


@lru_cache(maxsize=_LAYOUTS)
def _ground(spec: Spec, number: int) -> _Ground:
    laid = layout(spec, number)
    kinds = [""] * laid.keys
    for name, places in laid.places.items():
        for place in places:
            kinds[place] = name
    return _Ground(laid, kinds, {name: _of_types(laid, one.types) for name, one in OPERATIONS.items()})


def _of_types(laid: Layout, types: tuple[str, ...]) -> Sequence[int]:
    """The keys of those types, ascending."""
    if types == TYPES:
        return range(laid.keys)
    return sorted(chain.from_iterable(laid.places.get(name, ()) for name in types))


class _Run:
    """What is drawn for the operations of a run beside their keys; each takes what it needs, by its number."""

    def __init__(self, spec: Spec, source: Source, count: int, ground: _Ground) -> None:
        self.names, self.kinds, self.places = ground.laid.names, ground.kinds, ground.laid.places
        self.numbers = source.numbers(count)
        self.ttls = source.between(count, spec.ttl_min_ms, spec.ttl_max_ms)
        self.bound = max(_LEAST_BOUND, 2 * spec.elements_max)  # elements of a collection
        self.size_max = spec.size_max
        self._sizes = source.sizes(count)
        self._pool = source.noise(_STRIDE * count + spec.size_max)

    def value(self, at: int) -> bytes:
        """A string or an element, as a bulk string."""
        start = _STRIDE * at
        size = self._sizes[at]
        return b"$%d\r\n%b\r\n" % (size, self._pool[start : start + size])

    def element(self, at: int) -> int:
        """The number of an element below the bound."""
        return self.numbers[at] * self.bound >> 32


# ---- operations: each appends its commands for the key at `place` -----------------------------------------------


def _set(run: _Run, at: int, place: int, changes: list[Change]) -> None:
    """A new value, without an expiry."""
    value = bulk(b"%d" % run.numbers[at]) if run.kinds[place] == "counter" else run.value(at)
    changes.append((b"*3\r\n$3\r\nSET\r\n%b%b" % (run.names[place], value), False))


def _del(run: _Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append((b"*2\r\n$3\r\nDEL\r\n%b" % run.names[place], True))


def _expire(run: _Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append((b"*3\r\n$7\r\nPEXPIRE\r\n%b%b" % (run.names[place], bulk(b"%d" % run.ttls[at])), True))


def _rename(run: _Run, at: int, place: int, changes: list[Change]) -> None:
    """To another key of the same type, which is replaced; nothing where there is none."""
    mates = run.places[run.kinds[place]]
    other = mates[run.numbers[at] * (len(mates) - 1) >> 32]
    if other == place:
        other = mates[-1]
    if other != place:
        changes.append((b"*3\r\n$6\r\nRENAME\r\n%b%b" % (run.names[place], run.names[other]), False))


def _grow(run: _Run, at: int, place: int, changes: list[Change]) -> None:
    """One element more, or another one in its place once the collection is as large as it may get."""
    changes.append(_GROWERS[run.kinds[place]](run, at, run.names[place]))


def _grow_hash(run: _Run, at: int, key: bytes) -> Change:
    return b"*4\r\n$4\r\nHSET\r\n%b%b%b" % (key, bulk(b"field:%d" % run.element(at)), run.value(at)), False


def _grow_list(run: _Run, at: int, key: bytes) -> Change:
    if run.numbers[at] % _TRIM_EVERY == 0:
        return b"*4\r\n$5\r\nLTRIM\r\n%b%b$2\r\n-1\r\n" % (key, bulk(b"%d" % -run.bound)), False
    return b"*3\r\n$5\r\nRPUSH\r\n%b%b" % (key, run.value(at)), False


def _grow_set(run: _Run, at: int, key: bytes) -> Change:
    """Members come and go, for one that is there already could not be added again."""
    name = b"SREM" if run.numbers[at] & 1 else b"SADD"
    return b"*3\r\n$4\r\n%b\r\n%b%b" % (name, key, _member(run, at)), True


def _grow_zset(run: _Run, at: int, key: bytes) -> Change:
    score = bulk(b"%.2f" % ((run.numbers[at] & 0xFFFFF) / 4))
    return b"*4\r\n$4\r\nZADD\r\n%b%b%b" % (key, score, _member(run, at)), False


def _grow_geo(run: _Run, at: int, key: bytes) -> Change:
    east, north = run.numbers[at] % 360 - 180, run.numbers[at] % 170 - 85
    spot = bulk(b"%d" % east) + bulk(b"%d" % north)
    return b"*5\r\n$6\r\nGEOADD\r\n%b%b%b" % (key, spot, _member(run, at)), False


def _grow_hyperloglog(run: _Run, at: int, key: bytes) -> Change:
    return b"*3\r\n$5\r\nPFADD\r\n%b%b" % (key, bulk(b"%d" % run.numbers[at])), True


def _grow_bitmap(run: _Run, at: int, key: bytes) -> Change:
    """Four bytes of it, somewhere within the size that generate gives."""
    offset = run.numbers[at] * max(1, run.size_max - 3) >> 32
    bits = bulk(run.numbers[at].to_bytes(4, "big"))
    return b"*4\r\n$8\r\nSETRANGE\r\n%b%b%b" % (key, bulk(b"%d" % offset), bits), False


def _grow_stream(run: _Run, at: int, key: bytes) -> Change:
    """An entry with an id of the server's clock: those that generate writes are older."""
    return (
        b"*7\r\n$4\r\nXADD\r\n%b$6\r\nMAXLEN\r\n%b$1\r\n*\r\n$5\r\nfield\r\n%b"
        % (key, bulk(b"%d" % run.bound), run.value(at)),
        False,
    )


def _member(run: _Run, at: int) -> bytes:
    return bulk(b"churn:%d" % run.element(at))


_GROWERS: dict[str, Callable[[_Run, int, bytes], Change]] = {
    "bitmap": _grow_bitmap,
    "hyperloglog": _grow_hyperloglog,
    "hash": _grow_hash,
    "list": _grow_list,
    "set": _grow_set,
    "zset": _grow_zset,
    "geo": _grow_geo,
    "stream": _grow_stream,
}


@dataclass(frozen=True)
class Operation:
    """A row of the table: what it appends for a key, and the types of `synth.TYPES` whose keys it suits."""

    append: Callable[[_Run, int, int, list[Change]], None]
    types: tuple[str, ...] = TYPES


OPERATIONS = {
    "set": Operation(_set, ("string", "counter")),
    "grow": Operation(_grow, tuple(WRITERS)),
    "del": Operation(_del),
    "expire": Operation(_expire),
    "rename": Operation(_rename),
}
DEFAULT_OPERATIONS = parse_operations(DEFAULT_OPS)
