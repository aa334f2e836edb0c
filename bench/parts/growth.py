"""Ten times the keys must take ten times as long: strings of 100 B and of 10 B, with plain pages and with huge ones.

The servers' own time for a key grows with what they hold, as caches and the tables of memory pages hold less of it:
that is measured beside ours. With huge pages these tables are small, and it grows less: a condition of the servers,
told with the figures, nothing that the tool does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any
from unittest.mock import patch

from bench.data import DATASETS, SMALL, Dataset
from bench.peers import OURS, replicate
from bench.turns import Run
from tests.support.servers import Server

#: By so much the number of keys grows.
FACTOR = 10
#: Copies of the small set and of the large one, which takes long enough to be steady by itself.
ROUNDS = (3, 2)
#: What the allocator of the servers reads: both names, as either is compiled in.
HUGE = {"MALLOC_CONF": "thp:always", "JE_MALLOC_CONF": "thp:always"}
#: Figures whose growth is told, each a time for a key: 1 means that it does not grow.
GROWING = ("client_cpu_us_per_key", "source_cpu_us_per_key", "target_cpu_us_per_key")


def measure(run: Run) -> list[dict[str, Any]]:
    """Two items for each data set and kind of servers; the larger of a pair has `growth`: of its times for a key."""
    items = []
    for dataset, pages in product((DATASETS[0], SMALL), ("plain", "huge")):
        with servers(run.options.kind, pages) as (source, target):
            alone = replace(run, source=source, target=target)
            small, large = (_copies(alone, dataset, pages, which) for which in (0, 1))
        large["growth"] = growth(small, large)
        items += [small, large]
        told = ", ".join(f"{name} x{by:.2f}" for name, by in large["growth"].items())
        what = f"{dataset.name}, {pages} pages, {FACTOR}x the keys, for a key"
        print(f"\n{what}:\n{told}".replace("_us_per_key", ""), flush=True)
    return items


def _copies(run: Run, dataset: Dataset, pages: str, which: int) -> dict[str, Any]:
    loaded = run.load(dataset, run.options.keys * FACTOR**which)
    rounds = min(ROUNDS[which], run.options.rounds)
    title = f"{loaded.keys:,} keys of {dataset.name}, {pages} pages"
    return run.take_turns(dataset.name, dataset.what, loaded, [replicate(OURS)], rounds=rounds, title=title)


def growth(small: dict[str, Any], large: dict[str, Any]) -> dict[str, float]:
    """How many times longer the large copy took for a key (`seconds`: of the whole command), and the parts of it."""
    before, after = (item["tools"][OURS] for item in (small, large))
    if not before["seconds"] or not after["seconds"]:
        return {}
    factor = large["keys"] / small["keys"]
    grown = {"seconds": after["seconds"]["median"] / before["seconds"]["median"] / factor}
    grown |= {name: after[name]["median"] / before[name]["median"] for name in GROWING}
    return {name: round(by, 3) for name, by in grown.items()}


@contextmanager
def servers(kind: str, pages: str) -> Iterator[tuple[Server, Server]]:
    """Source and target; with huge pages for their data, or as they come."""
    words = ("--disable-thp", "no") if pages == "huge" else ()
    with patch.dict(os.environ, HUGE if pages == "huge" else {}):
        with Server(kind, *words) as source, Server(kind, *words) as target:
            yield source, target
