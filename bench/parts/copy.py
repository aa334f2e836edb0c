"""Each data set, copied by each tool."""

from __future__ import annotations

from typing import Any

from bench.data import DATASETS
from bench.peers import available
from bench.turns import Run


def measure(run: Run) -> list[dict[str, Any]]:
    """An item a data set."""
    tools = [tool for tool in available() if tool.name in run.options.tools]
    items = []
    for dataset in DATASETS:
        if dataset.name in run.options.data:
            loaded = run.load(dataset, run.options.keys)
            items.append(run.take_turns(dataset.name, dataset.what, loaded, tools))
    return items
