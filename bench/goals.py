"""What is asked of keyferry, and what a run reached: rows of a table, from the JSON of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.parts.cluster import PEER
from bench.parts.distance import FAR, NEAR
from bench.parts.limits import LATENCY
from bench.peers import OURS

#: How many times as many keys a second as native MIGRATE, by data set.
SPEED = {"100B": 2.5, "1KB": 3.5, "10KB": 4.0, "100KB": 4.0, "mixed": 1.6}
CLIENT_CPU_US = 1.2
FAR_SHARE = 0.75
COMPRESSION = 1.5
LIMIT_TOLERANCE = 0.10
LATENCY_SHARE = 0.90
PEAK_PSS_MB = 120
GROWTH_TOLERANCE = 0.10
SIDES = ("client", "source", "target")
#: Cluster to cluster: client CPU by kind of server (7.0 takes a command for each key), and times the naive copier.
CLUSTER_CPU_US = {"7.0": 1.7, "8.2": 1.5, "9.1": 1.5}
CLUSTER_SPEED = 4.0
#: … and how many times that of the bare loop the client CPU may be.
CLUSTER_CPU_TIMES = 1.15


@dataclass(frozen=True)
class Goal:
    """A row. `floor` is how many times longer the copy took than the processors need for it, where that is known."""

    what: str
    wanted: str
    reached: str
    met: bool
    floor: str = ""


def goals(parts: dict[str, Any]) -> list[Goal]:
    """The rows for the parts of a run that are there, each part as in the JSON."""
    makers = {"copy": _copy, "compression": _compression, "distance": _distance, "limits": _limits, "memory": _memory}
    makers |= {"growth": _growth, "cluster": _cluster}
    return [goal for name, make in makers.items() if name in parts for goal in make(parts[name]["data"])]


def _copy(data: list[dict[str, Any]]) -> Iterator[Goal]:
    for item in data:
        ratio = item["ratios"].get(f"{OURS}/migrate")
        if ratio and item["name"] in SPEED:
            wanted = SPEED[item["name"]]
            yield _at_least(f"{item['name']}: times native MIGRATE", wanted, ratio, "x", _floor(item, OURS))
    cpu = data[0]["tools"].get(OURS, {}).get("client_cpu_us_per_key") if data[0]["name"] == "100B" else None
    if cpu:
        yield _at_most("100B: client CPU, µs a key", CLIENT_CPU_US, cpu)


def _compression(data: list[dict[str, Any]]) -> Iterator[Goal]:
    noise = data[0]
    if ratio := noise["ratios"].get("off/on"):
        yield _at_least("2 KB mixed: rdbcompression off against on", COMPRESSION, ratio, "x", _floor(noise, "off"))


def _distance(data: list[dict[str, Any]]) -> Iterator[Goal]:
    if ratio := data[0]["ratios"].get(f"{FAR}/{NEAR}"):
        yield _at_least(f"100B: {FAR} on both sides, share of the speed", FAR_SHARE, ratio)


def _limits(data: list[dict[str, Any]]) -> Iterator[Goal]:
    for item in data:
        if item.get("reached"):
            share = {name: value / item["wanted"] for name, value in item["reached"].items()}
            met = abs(share["min"] - 1) <= LIMIT_TOLERANCE and abs(share["max"] - 1) <= LIMIT_TOLERANCE
            yield Goal(f"{item['what']}: share reached", f"1 ± {LIMIT_TOLERANCE:g}", _spread(share), met)
    if ratio := data[-1]["ratios"].get(f"{LATENCY}/no limit"):
        yield _at_least(f"--max-source-latency {LATENCY}, far: share of the speed", LATENCY_SHARE, ratio)


def _memory(data: list[dict[str, Any]]) -> Iterator[Goal]:
    for item in data:
        if peak := item["tools"][OURS]["peak_pss_mb"]:
            yield _at_most(f"{item['name']}, 2 workers: peak PSS, MB", PEAK_PSS_MB, peak)


def _growth(data: list[dict[str, Any]]) -> Iterator[Goal]:
    for item in data:
        if grown := item.get("growth"):
            met = abs(grown["seconds"]["median"] - 1) <= GROWTH_TOLERANCE
            client, source, target = (grown[f"{side}_cpu_us_per_key"]["median"] for side in SIDES)
            text = f"{_spread(grown['seconds'])}; client CPU {client:.2f}, source {source:.2f}, target {target:.2f}"
            yield Goal(
                f"{item['name']}: time a key, to a tenth", f"1 ± {GROWTH_TOLERANCE:g}", text, met, _floor(item, OURS)
            )


def _cluster(data: list[dict[str, Any]]) -> Iterator[Goal]:
    for item in data:
        what = f"cluster to cluster, {item['name']}"
        cpu = item["tools"][OURS]["client_cpu_us_per_key"]
        if cpu and item["kind"] in CLUSTER_CPU_US:
            yield _at_most(f"{what}: client CPU, µs a key", CLUSTER_CPU_US[item["kind"]], cpu)
        if times := item.get("client_cpu_to_loop"):
            yield _at_most(f"{what}: client CPU, times that of a bare loop", CLUSTER_CPU_TIMES, times)
        if ratio := item["ratios"].get(f"{OURS}/{PEER}"):
            yield _at_least(f"{what}: times redis-py's pipeline", CLUSTER_SPEED, ratio, "x", _floor(item, OURS))


def _at_least(what: str, wanted: float, found: dict[str, float], unit: str = "", floor: str = "") -> Goal:
    return Goal(what, f"≥ {wanted:g}{unit}", _spread(found), found["median"] >= wanted, floor)


def _at_most(what: str, wanted: float, found: dict[str, float]) -> Goal:
    return Goal(what, f"≤ {wanted:g}", _spread(found), found["median"] <= wanted)


def _spread(found: dict[str, float]) -> str:
    return "{median:.3g} ({min:.3g}-{max:.3g})".format(**found)


def _floor(item: dict[str, Any], tool: str) -> str:
    found = item["tools"][tool]["of_floor"]
    return f"{found['median']:.2f}" if found else ""
