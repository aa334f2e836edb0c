"""Cluster to cluster: three masters each, small strings, against the naive copier that one writes with RedisCluster,
and against a bare loop: what a copier in plain Python takes of the processor at least.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.clusters import MASTERS, Whole
from bench.data import DATASETS
from bench.peers import OURS, PIPELINE_KEYS, Tool, replicate
from bench.report import spread
from bench.turns import Run
from tests.support.clusters import Cluster

PEER = "pipeline"
LOOP = "loop"

_PEERS = Path(__file__).parents[1] / "peers"


def measure(run: Run) -> list[dict[str, Any]]:
    """One item."""
    dataset, kind = DATASETS[0], run.options.kind
    tools = [replicate(OURS), Tool(LOOP, _loop), Tool(PEER, _pipeline)]
    with Cluster(kind, MASTERS, wait=False) as source, Cluster(kind, MASTERS, wait=False) as target:
        source.wait_until_ready()
        target.wait_until_ready()
        sides = Whole(source), Whole(target)
        loaded = sides[0].load(dataset, run.options.keys)
        between = replace(run, source=sides[0], target=sides[1])
        what = f"{dataset.what}; {MASTERS} masters to {MASTERS} masters"
        item = between.take_turns(dataset.name, what, loaded, tools)
        return [item | {"kind": kind, "client_cpu_to_loop": _cpu_to_loop(item["rounds"])}]


def _cpu_to_loop(rounds: list[dict[str, Any]]) -> dict[str, float] | None:
    """How many times the loop's processor time ours took, over the rounds in which both copied everything."""
    cpu_s = {(one["tool"], one["number"]): one["client_cpu_s"] for one in rounds if not one["failed"]}
    numbers = sorted({number for _, number in cpu_s})
    pairs = [(cpu_s.get((OURS, number)), cpu_s.get((LOOP, number))) for number in numbers]
    return spread(ours / loop for ours, loop in pairs if ours and loop)


def _loop(_data: str, source: int, target: int) -> list[str]:
    return [sys.executable, str(_PEERS / "cluster_loop.py"), str(source), str(target)]


def _pipeline(_data: str, source: int, target: int) -> list[str]:
    return [sys.executable, str(_PEERS / "cluster_pipeline.py"), str(source), str(target), str(PIPELINE_KEYS)]
