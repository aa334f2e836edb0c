"""Every filter and limit alone, in pairs and in any set, against a plain-Python model, on random data of all types.

The model knows what it wrote. Which names a glob fits, and how much memory a value takes, it asks the source itself.
"""

from __future__ import annotations

import itertools
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ServerFactory
from tests.support.compare import all_keys
from tests.support.facts import Side
from tests.support.runner import Runner
from tests.support.servers import Server
from tests.support.wire import Command, Connection

HOUR_MS = 3_600_000
KEYS = 300

#: A source, and how it is read. 6.2 tells expiries by PTTL; several ranges make borders and overlaps.
WAYS = [
    ("6.2", {"method": "native", "ranges": 16}),
    ("7.0", {"method": "dump", "ranges": 1}),
    ("8.2", {"method": "native", "ranges": 1, "batch": 7}),
    ("9.1", {"method": "dump", "ranges": 32, "scan_count": 10}),
    ("7.0", {"method": "auto", "workers": 2}),
]
ways = pytest.mark.parametrize(("kind", "way"), WAYS, ids=[f"{kind}-{way['method']}" for kind, way in WAYS])


# ---- data -----------------------------------------------------------------------------------------------------------


@dataclass
class Key:
    """What the model knows of a key. `ends_h` None: it never expires."""

    type: str
    size: int
    ends_h: int | None


MAKE: dict[str, Callable[[bytes, int], Command]] = {
    "string": lambda key, size: ("SET", key, b"v" * size),
    "hash": lambda key, size: ("HSET", key, "field", b"v" * size),
    "list": lambda key, size: ("RPUSH", key, b"v" * size, b"w"),
    "set": lambda key, size: ("SADD", key, b"v" * size),
    "zset": lambda key, size: ("ZADD", key, 1, b"v" * size),
    "stream": lambda key, size: ("XADD", key, "1-1", "field", b"v" * size),
}


def write(connection: Connection, random: Random) -> dict[bytes, Key]:
    """Fill an empty database; what it holds then, by name."""
    connection.must("FLUSHALL")
    names = {random.choice([b"a:", b"b[:", b"\xff\x00", b"", b"a*\\"]) + b"%d" % number for number in range(KEYS)}
    held: dict[bytes, Key] = {}
    for name in sorted(names):
        key = Key(
            random.choice(sorted(MAKE)), random.choice([0, 1, 99, 100, 101, 5_000]), random.choice([None, 1, 5, 48])
        )
        connection.must(*MAKE[key.type](name, key.size))
        if key.ends_h:
            connection.must("PEXPIRE", name, key.ends_h * HOUR_MS)
        if key.type != "string":
            key.size = connection.must("MEMORY", "USAGE", name)
        held[name] = key
    return held


# ---- filters --------------------------------------------------------------------------------------------------------

GLOBS = [b"a:*", b"*[0-4]", b"?*\\*\\\\*", b"[^ab]*", b"\xff?[1-2]*", b"b\\[:?", b"*1*2*", b"*", b"\xff*"]

#: By name of the option: what it may be set to.
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "match": st.sampled_from(GLOBS),
    "include": st.lists(st.sampled_from(GLOBS), min_size=1, max_size=3),
    "exclude": st.lists(st.sampled_from(GLOBS[:-2]), min_size=1, max_size=2),
    "type": st.lists(st.sampled_from(sorted(MAKE)), min_size=1, max_size=3),
    "min_ttl": st.sampled_from([0.0, 2 * 3600.0, 24 * 3600.0]),
    "max_ttl": st.sampled_from([24 * 3600.0, 48 * 3600.0]),
    "max_size": st.sampled_from([0, 100, 3_000]),
    "limit": st.sampled_from([1, 20, KEYS - 1, KEYS, 10 * KEYS]),
    "keys_from": st.sampled_from(["lines", "nul", "jsonl"]),
}

#: Limits on the speed, with values that hold a copy back: they must not change what passes.
LIMITS: dict[str, Any] = {"rate": 4_000, "bandwidth": 2_000_000, "max_source_latency": 0.001}

Model = Callable[[Connection, dict[bytes, Key], Any], set[bytes]]


def fitting(connection: Connection, globs: list[bytes]) -> set[bytes]:
    """The keys whose names fit one of the globs, as the server sees it."""
    return {name for glob in globs for name in connection.must("KEYS", glob)}


#: By name of the option: the keys that pass it.
PASSING: dict[str, Model] = {
    "match": lambda source, held, glob: fitting(source, [glob]),
    "include": lambda source, held, globs: fitting(source, globs),
    "exclude": lambda source, held, globs: held.keys() - fitting(source, globs),
    "type": lambda source, held, types: {name for name, key in held.items() if key.type in types},
    "min_ttl": lambda source, held, least_s: {
        name for name, key in held.items() if key.ends_h is None or key.ends_h * 3600 >= least_s
    },
    "max_ttl": lambda source, held, most_s: {
        name for name, key in held.items() if key.ends_h is not None and key.ends_h * 3600 <= most_s
    },
    "max_size": lambda source, held, most: {name for name, key in held.items() if key.size <= most},
}


def names_file(path: Path, form: str, held: dict[bytes, Key], random: Random) -> tuple[set[bytes], int]:
    """Write a file that names some keys, some twice, and names that nobody has; the names, and how many are absent."""
    end = {"lines": b"\n", "nul": b"\0", "jsonl": None}[form]
    known = [name for name in held if end is None or end not in name]
    chosen = random.sample(known, KEYS // 2)
    absent = [b"absent:%d" % number for number in range(17)]
    names = chosen + absent + chosen[:20]
    random.shuffle(names)
    if end is None:
        lines = [json.dumps({"key": "?", "key_b64": b64encode(name).decode(), "db": 0}).encode() for name in names]
        path.write_bytes(b"\n".join(lines))
    else:
        path.write_bytes(b"".join(name + end for name in names))
    return set(chosen), len(absent)


# ---- a run against the model ----------------------------------------------------------------------------------------


@dataclass
class Bench:
    """Two servers, a process that copies, and a place for files."""

    source: Server
    target: Server
    runner: Runner
    folder: Path


@pytest.fixture
def bench(kind: str, server: ServerFactory, tmp_path: Path) -> Iterator[Bench]:
    with Runner() as runner:
        yield Bench(server(kind), server(kind), runner, tmp_path)


def check(bench: Bench, held: dict[bytes, Key], chosen: dict[str, Any], way: dict[str, Any], random: Random) -> None:
    """Copy with the chosen filters: what arrives, and what is said, must be what the model says."""
    bench.target.call("FLUSHALL")
    options, absent, wanted, read = {**way, **chosen}, 0, set(held), set(held)
    with bench.source.connect() as source:
        if "keys_from" in chosen:
            path = bench.folder / "names"
            form = chosen["keys_from"]
            read, absent = names_file(path, form, held, random)
            options |= {"keys_from": str(path), "keys_format": form}
            wanted = set(read)
        for name in chosen.keys() & PASSING.keys():
            wanted &= PASSING[name](source, held, chosen[name])
    told = bench.runner.replicate(bench.source.uri, bench.target.uri, **options)
    arrived = all_keys(bench.target)
    assert arrived <= wanted
    assert len(arrived) == min(len(wanted), chosen.get("limit", KEYS)) == told["keys"]
    assert (told["exit_code"], told["exact"], told["expired"], told["put_aside"]) == (0, True, 0, 0)
    assert told["read"] == told["keys"] + told["skipped"] + told["absent"]
    if len(wanted) < chosen.get("limit", KEYS + 1):
        left_out = len(read) - len(wanted) + absent  # an absent name may be skipped for what it is
        by_scan = "keys_from" not in chosen and chosen.keys() & {"match", "type"}
        assert told["skipped"] + told["absent"] <= left_out if by_scan else told["skipped"] + told["absent"] == left_out
    assert_same(bench, sorted(arrived))


def assert_same(bench: Bench, keys: list[bytes]) -> None:
    """Type, value and expiry of the keys are those of the source."""
    with bench.source.connect() as source, bench.target.connect() as target:
        if keys:
            for one, other in zip(Side(source).facts(keys), Side(target).facts(keys), strict=True):
                assert (one.type, one.digest) == (other.type, other.digest)
                assert (one.expiry is None) == (other.expiry is None)
                assert not one.expiry or not other.expiry or abs(one.expiry[0] - other.expiry[0]) < 1_000


def drawn(random: Random, names: tuple[str, ...]) -> dict[str, Any]:
    """Some value for each of these filters."""
    simple = {
        "match": GLOBS, "include": [[one, other] for one in GLOBS for other in GLOBS[:3]],
        "exclude": [[one] for one in GLOBS[:-2]], "type": [["hash"], ["string", "zset"], ["list", "set", "stream"]],
        "min_ttl": [2 * 3600.0], "max_ttl": [24 * 3600.0], "max_size": [100, 3_000], "limit": [1, 20, 200],
        "keys_from": ["lines", "nul", "jsonl"],
    }  # fmt: skip
    return {name: random.choice(simple[name]) for name in names}


@ways
def test_each_filter_alone_and_each_pair_copies_what_passes(kind: str, way: dict[str, Any], bench: Bench) -> None:
    random = Random(f"filters {kind} {way}")
    with bench.source.connect() as source:
        held = write(source, random)
    for names in itertools.chain(((),), itertools.combinations(CHOICES, 1), itertools.combinations(CHOICES, 2)):
        chosen = drawn(random, names)
        try:
            check(bench, held, chosen, way, random)
        except AssertionError as error:
            raise AssertionError(f"with {chosen}") from error


@pytest.mark.parametrize(("kind", "way"), [WAYS[-1]], ids=["7.0-auto"])
def test_limits_alone_and_with_each_other_and_each_filter_copy_what_passes(
    kind: str, way: dict[str, Any], bench: Bench
) -> None:
    random = Random("limits")
    with bench.source.connect() as source:
        held = write(source, random)
    alone = [(name,) for name in LIMITS]
    for names in (*alone, *itertools.combinations(LIMITS, 2), *itertools.product(LIMITS, CHOICES)):
        limits = {name: LIMITS[name] for name in names if name in LIMITS}
        chosen = drawn(random, tuple(name for name in names if name in CHOICES))
        try:
            check(bench, held, chosen | limits, way, random)
        except AssertionError as error:
            raise AssertionError(f"with {chosen | limits}") from error


@ways
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    chosen=st.fixed_dictionaries({}, optional=CHOICES | {name: st.just(value) for name, value in LIMITS.items()}),
)
def test_any_set_of_filters_copies_what_passes(
    kind: str, way: dict[str, Any], bench: Bench, seed: int, chosen: dict[str, Any]
) -> None:
    random = Random(seed)
    if chosen.get("min_ttl", 0) > chosen.get("max_ttl", 10**9):
        chosen["max_ttl"] = chosen["min_ttl"]
    with bench.source.connect() as source:
        held = write(source, random)
    check(bench, held, chosen, way, random)
