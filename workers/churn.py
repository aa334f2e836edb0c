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
RENAME and transactions take two keys of a block: a churn is for one server, not for the nodes of a cluster, and values
so large that each has a block of its own are not renamed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from typing import Any

from .churn_operations import OPERATIONS, Change, Ground, Run
from .synth import TYPES, Layout, Shares, Spec, block_count, block_keys, layout, parse_weights
from .synth_values import WORD, Source

RUN_CHANGES = 128  # operations of a run; fewer where values are large
#: All but `flushdb`, which empties the database.
DEFAULT_OPS = "set=40,setex=8,incr=4,grow=14,hset=4,xadd=3,group=3,del=9,expire=4,persist=2,rename=4,multi=3,lua=2"
#: Error replies that are expected: for a key or a group that is not there, or a group that is.
EXPECTED = ("ERR no such key", "NOGROUP", "BUSYGROUP", "ERR The XGROUP subcommand requires the key to exist")

_LAYOUTS = 256  # kept for the next runs, of some 100 KB each


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
    run = Run(spec, source, count, ground)
    work = {name: (OPERATIONS[name].append, ground.suited[name]) for name, _ in churn.operations}
    changes: list[Change] = []
    for at, operation in enumerate(_drawn(churn.operations, source, count)):
        append, suited = work[operation]
        if suited:
            append(run, at, suited[places[at] * len(suited) >> 32], changes)
    return changes


def outcome(changes: Sequence[Change], replies: Sequence[object]) -> tuple[int, list[Exception]]:
    """How many of the changes had nothing to change, and the errors that nobody expects."""
    last = _last_replies(changes, replies)
    errors = [reply for reply in chain.from_iterable(last) if isinstance(reply, Exception)]
    refused = [error for error in errors if not str(error).startswith(EXPECTED)]
    failed = sum([any(isinstance(one, Exception) for one in found) for found in last]) - len(refused)
    idle = sum([change.tells and found[0] == 0 for change, found in zip(changes, last)])
    return idle + max(0, failed), refused


def _last_replies(changes: Sequence[Change], replies: Sequence[object]) -> list[list[object]]:
    """What was finally said of each change: of a transaction, the replies to its commands."""
    found: list[list[object]] = []
    at = 0
    for change in changes:
        at += change.replies
        last = replies[at - 1]
        found.append(last if isinstance(last, list) and change.replies > 1 else [last])
    return found


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


@lru_cache(maxsize=_LAYOUTS)
def _ground(spec: Spec, number: int) -> Ground:
    laid = layout(spec, number)
    kinds = [""] * laid.keys
    for name, places in laid.places.items():
        for place in places:
            kinds[place] = name
    suited = {name: _of_types(laid, one.types) for name, one in OPERATIONS.items()}
    return Ground(laid.names, laid.places, kinds, suited)


def _of_types(laid: Layout, types: tuple[str, ...]) -> Sequence[int]:
    """The keys of those types, ascending."""
    if types == TYPES:
        return range(laid.keys)
    return sorted(chain.from_iterable(laid.places.get(name, ()) for name in types))


DEFAULT_OPERATIONS = parse_operations(DEFAULT_OPS)
