"""Ten times the keys must take ten times as long: 100 B strings with plain pages, 100 B and 10 B ones with huge pages.

HOW IT IS MEASURED
    A machine's pace changes within minutes, and the large copy takes one: so both sets stay on a server of their own,
    and each large copy has small ones right before and after it. Each copy goes to a server that has just started, as
    in a migration; one that was emptied would have memory from before, a small set all of it and a large one a part.

The servers' own time for a key grows with what they hold, as caches and the tables of memory pages hold less of it:
that is measured beside ours. With huge pages these tables are small, and it grows less: a condition of the servers,
told with the figures, nothing that the tool does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from bench.data import DATASETS, SMALL, Dataset, Loaded, load
from bench.peers import OURS, keyferry, replicate
from bench.report import FIGURES, spread
from bench.rounds import Round, play
from bench.turns import Run, commands_of, item_of, say
from tests.support.servers import Server

#: By so much the number of keys grows.
FACTOR = 10
#: Large copies, at most; and small ones on either side of each.
ROUNDS, BESIDE = 3, 2
#: Servers that are started at most until one asks for huge pages.
STARTS = 20
#: What the allocators of the servers read: jemalloc by both names, as either is compiled in, and the C library.
HUGE = {
    "MALLOC_CONF": "thp:always",
    "JE_MALLOC_CONF": "thp:always",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
#: Data sets, and pages of the servers' memory: as they come, and huge.
GROWN = ((DATASETS[0], "plain"), (DATASETS[0], "huge"), (SMALL, "huge"))
#: Figures whose growth is told, each a time for a key: 1 means that it does not grow.
GROWING = ("client_cpu_us_per_key", "source_cpu_us_per_key", "target_cpu_us_per_key")

TOOL = replicate(OURS)
Held = tuple[Server, Loaded]
Triple = tuple[list[Round], Round]  # the small copies around a large one, and that one


def measure(run: Run) -> list[dict[str, Any]]:
    """Two items for each data set and kind of pages; the larger of a pair has `growth`: of its times for a key."""
    pairs = [_pair(run, dataset, pages) for dataset, pages in GROWN]
    return [item for pair in pairs for item in pair]


def _pair(run: Run, dataset: Dataset, pages: str) -> list[dict[str, Any]]:
    with server(run.options.kind, pages) as small, server(run.options.kind, pages) as large:
        few = load(dataset, run.options.keys, small.port, keyferry())
        many = load(dataset, run.options.keys * FACTOR, large.port, keyferry())
        share = huge_share(large)
        held = (small, few), (large, many)
        triples = [_copies(run, number, dataset, pages, held) for number in range(min(ROUNDS, run.options.rounds))]
    beside, copies = [one for around, _ in triples for one in around], [one for _, one in triples]
    commands = commands_of([TOOL], dataset.name)
    pair = [
        item_of(f"{loaded.keys:,} keys of {dataset.name}, {pages} pages", dataset.what, loaded, commands, done)
        for loaded, done in ((few, beside), (many, copies))
    ]
    pair[1] |= {"growth": growth(triples), "huge_pages_share": share}
    told = ", ".join(f"{name} x{by['median']:.2f}" for name, by in pair[1]["growth"].items())
    what = f"{dataset.name}, {pages} pages ({share:.0%} of the memory huge), {FACTOR}x the keys, for a key"
    print(f"\n{what}:\n{told}".replace("_us_per_key", ""), flush=True)
    return pair


def _copies(run: Run, number: int, dataset: Dataset, pages: str, held: tuple[Held, Held]) -> Triple:
    """A large copy, and the small ones before and after it."""
    order = [0] * BESIDE + [1] + [0] * BESIDE
    done: tuple[list[Round], list[Round]] = ([], [])
    for which in order:
        source, loaded = held[which]
        with server(run.options.kind, pages) as target:
            copy = play(TOOL, number, dataset.name, loaded, source, target, run.rest_s)
        say(f"  {loaded.keys:,} keys of {dataset.name}, {pages} pages: {copy.seconds:.2f} s {copy.failed}")
        done[which].append(copy)
    return done[0], done[1][0]


def growth(triples: Sequence[Triple]) -> dict[str, dict[str, float]]:
    """How many times longer the large copies took for a key than the median of the small ones around each.

    `seconds` is of the whole command, the others are the parts of it; {median, min, max} over the rounds.
    """
    good = [([one for one in small if not one.failed], large) for small, large in triples if not large.failed]
    figures = {"seconds": lambda one: one.seconds / one.keys} | {name: FIGURES[name] for name in GROWING}
    grown = {
        name: spread(figure(large) / median(map(figure, small)) for small, large in good if small)
        for name, figure in figures.items()
    }
    return {name: found for name, found in grown.items() if found}


@contextmanager
def server(kind: str, pages: str) -> Iterator[Server]:
    """A server with huge pages for its data, or as it comes."""
    started = _huge(kind) if pages == "huge" else Server(kind)
    with started:
        yield started


def _huge(kind: str) -> Server:
    """A server that asks the kernel for huge pages, where the kernel gives them to those who ask.

    glibc 2.36 compares the kernel's answer with a text that ends in a zero byte, which what it reads does not have: by
    what lay there before, about one start in four has no huge pages. So a start without is made again.
    """
    with patch.dict(os.environ, HUGE):
        for _ in range(STARTS):
            started = Server(kind, "--disable-thp", "no")
            if asked_share(started) or not given_to_those_who_ask():
                return started
            started.stop()
    raise RuntimeError(f"none of {STARTS} servers {kind} asked for huge pages")


def given_to_those_who_ask() -> bool:
    """Whether the kernel gives huge pages to the memory for which they are asked, and to no other."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.exists() and "[madvise]" in setting.read_text()


def asked_share(held: Server) -> float:
    """The share of a server's memory for which it asked for huge pages: `hg` in an area's flags, by proc(5)."""
    sizes_kib, asked_kib = [], 0
    for line in Path(f"/proc/{held.pid}/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            sizes_kib.append(int(line.split()[1]))
        elif line.startswith("VmFlags:") and "hg" in line.split():
            asked_kib += sizes_kib[-1]
    return asked_kib / sum(sizes_kib)


def huge_share(held: Server) -> float:
    """The share of a server's memory that is in huge pages: a kernel that is short of them gives fewer than asked."""
    found = dict(line.split()[:2] for line in Path(f"/proc/{held.pid}/smaps_rollup").read_text().splitlines()[1:])
    return round(int(found["AnonHugePages:"]) / int(found["Rss:"]), 3)
