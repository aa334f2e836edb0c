"""What can be measured, a part a file: `measure(run)` gives the items of the JSON's `data`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.parts import cluster, compression, copy, distance, growth, limits, memory, methods
from bench.turns import Run

#: By the names of options.PARTS.
MEASURES: dict[str, Callable[[Run], list[dict[str, Any]]]] = {
    "copy": copy.measure,
    "compression": compression.measure,
    "distance": distance.measure,
    "limits": limits.measure,
    "memory": memory.measure,
    "methods": methods.measure,
    "growth": growth.measure,
    "cluster": cluster.measure,
}
