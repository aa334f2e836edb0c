"""The data sets that are copied, each written to the source by `keyferry generate`: same seed, same data."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

#: Expiries lie this far away: no key may expire during a run, or the counts would differ.
TTL = ("--ttl-share", "25%", "--ttl", "24h-48h")


@dataclass(frozen=True)
class Part:
    """Keys of one kind: `share` of the data set's keys, and what `keyferry generate` is told of them."""

    share: float
    options: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """A data set. `share` is its number of keys as a part of --keys: each set takes a comparable time to copy."""

    name: str
    what: str
    share: float
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Loaded:
    """What is on the source now: the number of keys, and the bytes of the values (of collections: of elements)."""

    keys: int
    bytes: int


_COLLECTIONS = ("--types", "hash=40,list=20,set=20,zset=20", "--elements", "4-4", "--size", "40-60")


def _strings(name: str, size: int, share: float) -> Dataset:
    part = Part(1, ("--types", "string=1", "--size", f"{size}-{size}", *TTL))
    return Dataset(name, f"strings of {size:,} B, a quarter with a TTL", share, (part,))


DATASETS = (
    _strings("100B", 100, 1),
    _strings("1KB", 1_000, 1 / 2),
    _strings("10KB", 10_000, 1 / 10),
    _strings("100KB", 100_000, 1 / 60),
    Dataset(
        "mixed",
        "half strings of 150-250 B, half collections of 4 x 40-60 B, a quarter with a TTL",
        1 / 2,
        (
            Part(0.5, ("--types", "string=1", "--size", "150-250", "--prefix", "string:", *TTL)),
            Part(0.5, (*_COLLECTIONS, "--prefix", "collection:", *TTL)),
        ),
    ),
)

#: So small that names and expiries are most of what is copied.
SMALL = Dataset("10B", "strings of 10 B", 1, (Part(1, ("--types", "string=1", "--size", "10-10")),))


def load(dataset: Dataset, keys: int, port: int, keyferry: list[str]) -> Loaded:
    """Add the data set to the empty server on `port`; `keys` is the number for a share of 1.

    Raises CalledProcessError when `keyferry generate` fails.
    """
    total = Loaded(0, 0)
    for part in dataset.parts:
        count = max(1, round(keys * dataset.share * part.share))
        words = [*keyferry, "generate", "-p", str(port), "--keys", str(count), *part.options, "--seed", "1", "--json"]
        done = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        total = Loaded(total.keys + done["keys"], total.bytes + done["bytes"])
    return total
