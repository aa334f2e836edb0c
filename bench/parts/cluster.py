"""Cluster to cluster: three masters each, small strings, against the naive copier that one writes with RedisCluster."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.clusters import MASTERS, Whole
from bench.data import DATASETS
from bench.peers import OURS, PIPELINE_KEYS, Tool, replicate
from bench.turns import Run
from tests.support.clusters import Cluster

PEER = "pipeline"

_SCRIPT = Path(__file__).parents[1] / "peers" / "cluster_pipeline.py"


def measure(run: Run) -> list[dict[str, Any]]:
    """One item."""
    dataset, kind = DATASETS[0], run.options.kind
    tools = [replicate(OURS), Tool(PEER, _pipeline)]
    with Cluster(kind, MASTERS, wait=False) as source, Cluster(kind, MASTERS, wait=False) as target:
        source.wait_until_ready()
        target.wait_until_ready()
        sides = Whole(source), Whole(target)
        loaded = sides[0].load(dataset, run.options.keys)
        between = replace(run, source=sides[0], target=sides[1])
        what = f"{dataset.what}; {MASTERS} masters to {MASTERS} masters"
        return [between.take_turns(dataset.name, what, loaded, tools) | {"kind": kind}]


def _pipeline(_data: str, source: int, target: int) -> list[str]:
    return [sys.executable, str(_SCRIPT), str(source), str(target), str(PIPELINE_KEYS)]
