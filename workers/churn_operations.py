"""What each operation of a churn sends: one row of `OPERATIONS` each, as raw RESP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .synth import TYPES, Spec
from .synth_values import WRITERS, Source, bulk, command

_STRIDE = 64  # bytes between the starts of two values in their pool
_LEAST_BOUND = 16  # elements that a collection may grow to, where generate makes it smaller
_TRIM_EVERY = 8  # of so many changes to a list one trims it
_MULTI, _EXEC, _FLUSHDB = command(b"MULTI"), command(b"EXEC"), command(b"FLUSHDB")
_LUA_SET = b"redis.call('SET', KEYS[1], ARGV[1]) return 1"
_LUA_EXPIRY = b"if redis.call('PERSIST', KEYS[1]) == 1 then return 1 end return redis.call('PEXPIRE', KEYS[1], ARGV[1])"


class Change(NamedTuple):
    """What is sent for one operation."""

    command: bytes
    tells: bool = False  # a reply of 0 says that it has changed nothing
    replies: int = 1  # of a transaction: one for each of its commands, too


@dataclass(frozen=True)
class Ground:
    """A block as the operations see it."""

    names: list[bytes]  # of a full block, as bulk strings
    places: Mapping[str, Sequence[int]]  # type -> which keys of the block, ascending
    kinds: list[str]  # the type of each key
    suited: dict[str, Sequence[int]]  # operation -> the keys that it suits, ascending


class Run:
    """What is drawn for the operations of a run beside their keys; each takes what it needs, by its number."""

    def __init__(self, spec: Spec, source: Source, count: int, ground: Ground) -> None:
        self.names, self.kinds, self.places = ground.names, ground.kinds, ground.places
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


def _set(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """A new value, without an expiry."""
    changes.append(Change(b"*3\r\n$3\r\nSET\r\n%b%b" % (run.names[place], _value(run, at, place))))


def _del(run: Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append(Change(b"*2\r\n$3\r\nDEL\r\n%b" % run.names[place], tells=True))


def _expire(run: Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append(Change(b"*3\r\n$7\r\nPEXPIRE\r\n%b%b" % (run.names[place], bulk(b"%d" % run.ttls[at])), tells=True))


def _rename(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """To another key of the same type, which is replaced; nothing where there is none."""
    mates = run.places[run.kinds[place]]
    other = mates[run.numbers[at] * (len(mates) - 1) >> 32]
    if other == place:
        other = mates[-1]
    if other != place:
        changes.append(Change(b"*3\r\n$6\r\nRENAME\r\n%b%b" % (run.names[place], run.names[other])))


def _grow(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """One element more, or another one in its place once the collection is as large as it may get."""
    changes.append(_GROWERS[run.kinds[place]](run, at, run.names[place]))


def _grow_hash(run: Run, at: int, key: bytes) -> Change:
    return Change(b"*4\r\n$4\r\nHSET\r\n%b%b%b" % (key, bulk(b"field:%d" % run.element(at)), run.value(at)))


def _grow_list(run: Run, at: int, key: bytes) -> Change:
    if run.numbers[at] % _TRIM_EVERY == 0:
        return Change(b"*4\r\n$5\r\nLTRIM\r\n%b%b$2\r\n-1\r\n" % (key, bulk(b"%d" % -run.bound)))
    return Change(b"*3\r\n$5\r\nRPUSH\r\n%b%b" % (key, run.value(at)))


def _grow_set(run: Run, at: int, key: bytes) -> Change:
    """Members come and go, for one that is there already could not be added again."""
    name = b"SREM" if run.numbers[at] & 1 else b"SADD"
    return Change(b"*3\r\n$4\r\n%b\r\n%b%b" % (name, key, _member(run, at)), tells=True)


def _grow_zset(run: Run, at: int, key: bytes) -> Change:
    score = bulk(b"%.2f" % ((run.numbers[at] & 0xFFFFF) / 4))
    return Change(b"*4\r\n$4\r\nZADD\r\n%b%b%b" % (key, score, _member(run, at)))


def _grow_geo(run: Run, at: int, key: bytes) -> Change:
    east, north = run.numbers[at] % 360 - 180, run.numbers[at] % 170 - 85
    spot = bulk(b"%d" % east) + bulk(b"%d" % north)
    return Change(b"*5\r\n$6\r\nGEOADD\r\n%b%b%b" % (key, spot, _member(run, at)))


def _grow_hyperloglog(run: Run, at: int, key: bytes) -> Change:
    return Change(b"*3\r\n$5\r\nPFADD\r\n%b%b" % (key, bulk(b"%d" % run.numbers[at])), tells=True)


def _grow_bitmap(run: Run, at: int, key: bytes) -> Change:
    """Four bytes of it, somewhere within the size that generate gives."""
    offset = run.numbers[at] * max(1, run.size_max - 3) >> 32
    bits = bulk(run.numbers[at].to_bytes(4, "big"))
    return Change(b"*4\r\n$8\r\nSETRANGE\r\n%b%b%b" % (key, bulk(b"%d" % offset), bits))


def _grow_stream(run: Run, at: int, key: bytes) -> Change:
    """An entry with an id of the server's clock: those that generate writes are older."""
    return Change(
        b"*7\r\n$4\r\nXADD\r\n%b$6\r\nMAXLEN\r\n%b$1\r\n*\r\n$5\r\nfield\r\n%b"
        % (key, bulk(b"%d" % run.bound), run.value(at))
    )


def _member(run: Run, at: int) -> bytes:
    return bulk(b"churn:%d" % run.element(at))


_GROWERS: dict[str, Callable[[Run, int, bytes], Change]] = {
    "bitmap": _grow_bitmap,
    "hyperloglog": _grow_hyperloglog,
    "hash": _grow_hash,
    "list": _grow_list,
    "set": _grow_set,
    "zset": _grow_zset,
    "geo": _grow_geo,
    "stream": _grow_stream,
}


def _value(run: Run, at: int, place: int) -> bytes:
    """What a string or a counter is set to, as a bulk string."""
    return bulk(b"%d" % run.numbers[at]) if run.kinds[place] == "counter" else run.value(at)


def _setex(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """A new value with an expiry."""
    expiry = bulk(b"%d" % run.ttls[at])
    changes.append(Change(b"*4\r\n$6\r\nPSETEX\r\n%b%b%b" % (run.names[place], expiry, _value(run, at, place))))


def _persist(run: Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append(Change(b"*2\r\n$7\r\nPERSIST\r\n%b" % run.names[place], tells=True))


def _incr(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """By a small number up or down: a counter that generate wrote may be near the end of what 64 bits hold."""
    step = bulk(b"%d" % (run.numbers[at] % 7 - 3 or 1))
    changes.append(Change(b"*3\r\n$6\r\nINCRBY\r\n%b%b" % (run.names[place], step)))


def _hset(run: Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append(_grow_hash(run, at, run.names[place]))


def _xadd(run: Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append(_grow_stream(run, at, run.names[place]))


def _group(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """What is done with the groups of a stream; of most of it no change feed of a server tells."""
    key, group = run.names[place], b"group:%d" % (run.numbers[at] >> 8 & 1)
    start = bulk(b"%d-0" % (run.numbers[at] & 0xFF))
    changes.append(_GROUPERS[run.numbers[at] % len(_GROUPERS)](key, bulk(group), start))


def _group_create(key: bytes, group: bytes, start: bytes) -> Change:
    return Change(b"*6\r\n$6\r\nXGROUP\r\n$6\r\nCREATE\r\n%b%b$1\r\n0\r\n$8\r\nMKSTREAM\r\n" % (key, group))


def _group_read(key: bytes, group: bytes, start: bytes) -> Change:
    words = b"$5\r\nGROUP\r\n%b$5\r\nchurn\r\n$5\r\nCOUNT\r\n$1\r\n2\r\n$7\r\nSTREAMS\r\n" % group
    return Change(b"*9\r\n$10\r\nXREADGROUP\r\n%b%b$1\r\n>\r\n" % (words, key))


def _group_claim(key: bytes, group: bytes, start: bytes) -> Change:
    consumer = b"$5\r\nother\r\n$1\r\n0\r\n"
    return Change(b"*8\r\n$10\r\nXAUTOCLAIM\r\n%b%b%b%b$5\r\nCOUNT\r\n$1\r\n2\r\n" % (key, group, consumer, start))


def _group_set(key: bytes, group: bytes, start: bytes) -> Change:
    return Change(b"*5\r\n$6\r\nXGROUP\r\n$5\r\nSETID\r\n%b%b%b" % (key, group, start))


def _group_forget(key: bytes, group: bytes, start: bytes) -> Change:
    words = b"$11\r\nDELCONSUMER\r\n%b%b$5\r\nother\r\n" % (key, group)
    return Change(b"*5\r\n$6\r\nXGROUP\r\n%b" % words, tells=True)


_GROUPERS = (_group_create, _group_read, _group_claim, _group_read, _group_set, _group_claim, _group_forget)


def _multi(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """Two changes of a key in one transaction, and sometimes the end of another key."""
    inner: list[Change] = []
    append = _grow if run.kinds[place] in _GROWERS else _set
    append(run, at, place, inner)
    _expire(run, at, place, inner)
    if run.numbers[at] % 4 == 0:
        _del(run, at, run.places[run.kinds[place]][0], inner)
    request = b"".join([_MULTI, *(change.command for change in inner), _EXEC])
    changes.append(Change(request, replies=len(inner) + 2))


def _lua(run: Run, at: int, place: int, changes: list[Change]) -> None:
    """A script: a new value, or an expiry that comes and goes."""
    plain = run.kinds[place] not in _GROWERS
    script = bulk(_LUA_SET if plain else _LUA_EXPIRY)
    argument = _value(run, at, place) if plain else bulk(b"%d" % run.ttls[at])
    request = b"*5\r\n$4\r\nEVAL\r\n%b$1\r\n1\r\n%b%b" % (script, run.names[place], argument)
    changes.append(Change(request, tells=not plain))


def _flushdb(run: Run, at: int, place: int, changes: list[Change]) -> None:
    changes.append(Change(_FLUSHDB))


@dataclass(frozen=True)
class Operation:
    """A row of the table: what it appends for a key, and the types of `synth.TYPES` whose keys it suits."""

    append: Callable[[Run, int, int, list[Change]], None]
    types: tuple[str, ...] = TYPES


OPERATIONS = {
    "set": Operation(_set, ("string", "counter")),
    "setex": Operation(_setex, ("string", "counter")),
    "incr": Operation(_incr, ("counter",)),
    "grow": Operation(_grow, tuple(WRITERS)),
    "hset": Operation(_hset, ("hash",)),
    "xadd": Operation(_xadd, ("stream",)),
    "group": Operation(_group, ("stream",)),
    "del": Operation(_del),
    "expire": Operation(_expire),
    "persist": Operation(_persist),
    "rename": Operation(_rename),
    "multi": Operation(_multi),
    "lua": Operation(_lua),
    "flushdb": Operation(_flushdb),
}
