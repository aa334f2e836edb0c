"""No change of a key escapes a comparison, and nothing else is called one, for every type, encoding and version."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import compared, verdict_of
from tests.support.dataset import fill
from tests.support.mutations import Mutation, apply_all, mutations
from tests.support.servers import Server

#: Every version is compared with every other, and with itself, by turns in one direction.
PAIRS = [("6.2", "6.2"), ("6.2", "7.0"), ("6.2", "9.1"), ("7.0", "7.0"), ("7.0", "8.2"), ("8.2", "8.2")]
PAIRS += [("8.2", "6.2"), ("8.2", "9.1"), ("9.1", "7.0"), ("9.1", "9.1")]
SOAKED = PAIRS[:1] + PAIRS[3:5] + PAIRS[8:9]  # what `scripts/soak` makes besides


def both_have(source: Server, target: Server) -> list[Mutation]:
    """The mutations of values that both sides know."""
    return [one for one in mutations() if one.since <= min(source.kind, target.kind)]


def test_there_are_enough_of_them() -> None:
    assert len(list(mutations())) >= 150
    assert len({one.key for one in mutations()}) == len(list(mutations()))


@pytest.mark.parametrize(
    "pair", [pytest.param(pair, id="-".join(pair), marks=pytest.mark.soak if pair in SOAKED else ()) for pair in PAIRS]
)
def test_each_mutation_is_found_with_the_right_kind(
    pair: tuple[str, str], server: ServerFactory, tmp_path: Path
) -> None:
    source, target = (server(kind) for kind in pair)
    chosen = both_have(source, target)
    for one in (source, target):
        apply_all(one, [command for mutation in chosen for command in mutation.build])
    built = sum(bool(mutation.build) for mutation in chosen)
    ran = compared(source, target, "--show-diffs", "20")
    assert (ran.code, verdict_of(ran)) == (0, f"OK:{built} V:0 >:0 <:0 T:0"), ran.out
    apply_all(target, [command for mutation in chosen for command in mutation.change])
    compared(source, target, "--diff-file", str(tmp_path / "file"))
    lines = (tmp_path / "file").read_text().splitlines()
    found = {record["key"]: record["kind"] for record in map(json.loads, lines)}
    assert {one.key: (one.kind, found.get(one.key)) for one in chosen if found.get(one.key) != one.kind} == {}
    assert found.keys() == {one.key for one in chosen}


#: Limits of compact encodings, as small as they go: values get the other encoding than with the defaults.
TIGHT = {
    "hash-max-ziplist-entries": 2,
    "zset-max-ziplist-entries": 2,
    "set-max-intset-entries": 2,
    "list-max-ziplist-size": 3,
    "stream-node-max-entries": 3,
    "hll-sparse-max-bytes": 0,
    "rdbcompression": "no",
}


@pytest.mark.parametrize("pair", [("7.0", "7.0"), ("8.2", "8.2"), ("9.1", "9.1"), ("6.2", "8.2")], ids="-".join)
def test_other_encodings_orders_and_compression_are_no_difference(pair: tuple[str, str], server: ServerFactory) -> None:
    source, target = (server(kind, fresh=True) for kind in pair)
    for name, value in TIGHT.items():
        target.client.config_set(name, value)
    fill(source, 700, now_ms=2_000_000_000_000)
    fill(target, 700, now_ms=2_000_000_000_000) if source.kind == target.kind else None
    count = 700 if source.kind == target.kind else 0
    if not count:
        source.call("FLUSHALL")
    random = Random(1)
    for number in range(120):
        shuffled = [f"{number}:{n}" for n in range(random.choice([3, 40, 900]))]
        for one in (source, target):
            random.shuffle(shuffled)
            build(one, number, shuffled)
    ran = compared(source, target, "--show-diffs", "20")
    assert (ran.code, verdict_of(ran)) == (0, f"OK:{count + 120} V:0 >:0 <:0 T:0"), ran.out


def build(server: Server, number: int, words: list[str]) -> None:
    """A set, hash, sorted set or hyperloglog of these words, in their order."""
    key = f"shuffled:{number}"
    commands: list[tuple[Any, ...]] = [
        ("SADD", key, *words),
        ("HSET", key, *(part for word in words for part in (word, f"value of {word}"))),
        ("ZADD", key, *(part for word in words for part in (len(word) + 0.1, word))),
        ("PFADD", key, *words),
    ]
    apply_all(server, [commands[number % 4]])
