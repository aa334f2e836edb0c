"""What the limits do: a rate and a bandwidth that are to be met, and a latency that is not to cost anything.

`wanted` and `reached` of an item are keys or bytes a second of the copy itself, as the command tells them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bench.data import DATASETS
from bench.parts.distance import ROUND_TRIP_MS, through
from bench.peers import OURS, replicate
from bench.report import spread
from bench.turns import Run

RATE, BANDWIDTH, LATENCY = 20_000, 10 << 20, "5ms"
#: The copies last so long by their limits, seconds.
SECONDS = 10
#: A limit is exact: more copies would only take more time.
ROUNDS = 3


def measure(run: Run) -> list[dict[str, Any]]:
    """An item a limit."""
    seconds, rounds = (0.5, 1) if run.options.smoke else (SECONDS, ROUNDS)
    small, large = DATASETS[0], DATASETS[1]
    items = []
    loaded = run.load(small, round(RATE * seconds))
    limit = replicate(OURS, "--rate", str(RATE))
    items.append(run.take_turns(small.name, f"--rate {RATE}", loaded, [limit], rounds=rounds, title="rate"))
    items[-1] |= {"wanted": RATE, "reached": _reached(items[-1], "keys")}
    loaded = run.load(large, round(BANDWIDTH * seconds / 1000 / large.share))
    limit = replicate(OURS, "--bandwidth", str(BANDWIDTH))
    items.append(run.take_turns(large.name, "--bandwidth 10mb", loaded, [limit], rounds=rounds, title="bandwidth"))
    items[-1] |= {"wanted": BANDWIDTH, "reached": _reached(items[-1], "bytes")}
    return [*items, _latency(run)]


def _latency(run: Run) -> dict[str, Any]:
    """Over a long way with nobody else at the source, the limit must not take the way for a slow source."""
    dataset = DATASETS[0]
    loaded = run.load(dataset, run.options.keys)
    with ExitStack() as stack:
        free = through(stack, run, "no limit", ROUND_TRIP_MS)
        limited = through(stack, run, LATENCY, ROUND_TRIP_MS, "--max-source-latency", LATENCY)
        what = f"--max-source-latency {LATENCY}; {ROUND_TRIP_MS} ms more a round trip, both sides"
        return run.take_turns(dataset.name, what, loaded, [free, limited], ours=LATENCY, title="latency")


def _reached(item: dict[str, Any], unit: str) -> dict[str, float] | None:
    return spread(one[unit] / one["copy_s"] for one in item["rounds"] if not one["failed"])
