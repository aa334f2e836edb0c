"""keyferry alone, compared to what it does by itself: each --method by --workers; a copy without the part in C."""

from __future__ import annotations

import os
from typing import Any

from bench.data import DATASETS
from bench.peers import OURS, Tool, replicate
from bench.turns import Run
from keyferry.workers.compiled import PURE_PYTHON

METHODS = ("native", "dump")


def measure(run: Run) -> list[dict[str, Any]]:
    """An item a data set."""
    cores = len(os.sched_getaffinity(0))
    workers = (1,) if run.options.smoke else tuple(sorted({1, 2, cores, 2 * cores}))
    tools = [replicate(OURS), Tool("Python alone", _pure)]
    for method in ("auto", *METHODS):
        tools += [replicate(f"{method} {n}", "--method", method, "--workers", str(n)) for n in workers]
    items = []
    for dataset in DATASETS:
        if dataset.name in run.options.data[: 1 if run.options.smoke else None]:
            loaded = run.load(dataset, run.options.keys)
            items.append(run.take_turns(dataset.name, dataset.what, loaded, tools))
    return items


def _pure(data: str, source: int, target: int) -> list[str]:
    return ["env", f"{PURE_PYTHON}=1", *replicate(OURS).words(data, source, target)]
