"""Peak memory of all processes with two workers, which must not grow with the number of keys."""

from __future__ import annotations

from typing import Any

from bench.data import SMALL
from bench.peers import OURS, replicate
from bench.turns import Run

#: Numbers of keys, as parts of --keys.
SHARES = (1 / 4, 5 / 2)
ROUNDS = 2


def measure(run: Run) -> list[dict[str, Any]]:
    """An item a number of keys."""
    items = []
    for share in SHARES:
        loaded = run.load(SMALL, round(run.options.keys * share))
        tools = [replicate(OURS, "--workers", "2")]
        rounds = min(ROUNDS, run.options.rounds)
        items.append(
            run.take_turns(SMALL.name, SMALL.what, loaded, tools, rounds=rounds, title=f"{loaded.keys:,} keys")
        )
    return items
