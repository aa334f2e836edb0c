"""From rounds to figures: medians with their extremes, ratios round by round, and the table for the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from bench.peers import OURS
from bench.rounds import Round

#: keyferry's own figure of its processor time may differ by so much from the kernel's before it is pointed at.
CPU_TOLERANCE = 0.15

#: A median round in which others had so much of the processors is no quiet measurement.
NOISE_SHARE = 0.10

#: What is computed of each round, by name.
FIGURES: dict[str, Callable[[Round], float]] = {
    "keys_per_second": lambda one: one.keys / one.seconds,
    "mb_per_second": lambda one: one.bytes / one.seconds / 1e6,
    "seconds": lambda one: one.seconds,
    "client_cpu_us_per_key": lambda one: one.client_cpu_s / one.keys * 1e6,
    "client_cpu_seen_us_per_key": lambda one: one.client_cpu_seen_s / one.keys * 1e6,
    "source_cpu_us_per_key": lambda one: one.source_cpu_s / one.keys * 1e6,
    "target_cpu_us_per_key": lambda one: one.target_cpu_s / one.keys * 1e6,
    "peak_pss_mb": lambda one: one.pss_bytes / 1e6,
    "others_share": lambda one: one.others_share,
    "floor_keys_per_second": lambda one: one.keys / floor_s(one),
    "of_floor": lambda one: one.seconds / floor_s(one),
}


def floor_s(one: Round) -> float:
    """What the copy would take at least with the processor time that it used, if nothing ever waited: a server does one
    thing at a time, and all of them share the cores.
    """
    together = (one.client_cpu_s + one.source_cpu_s + one.target_cpu_s) / len(os.sched_getaffinity(0))
    return max(one.source_cpu_s, one.target_cpu_s, together)


_HEAD = f"{'':<11}{'keys/s':>8}{'min - max':>18}{'MB/s':>7}{'client':>9}{'source':>8}{'target':>8}{'PSS MB':>8}"


def spread(values: Iterable[float]) -> dict[str, float] | None:
    """Median, min and max, to 4 digits; None of no values."""
    found = list(values)
    if not found:
        return None
    return {name: float(f"{of(found):.4g}") for name, of in (("median", median), ("min", min), ("max", max))}


def summarize(rounds: Sequence[Round], ours: str = OURS) -> dict[str, Any]:
    """The figures of one data set: `tools` (by name: figures, failures) and `ratios` (`ours` to each of the others).

    A figure is {median, min, max} over the rounds that did not fail, None when all did.
    """
    names = list(dict.fromkeys(one.tool for one in rounds))
    tools = {name: _tool_figures([one for one in rounds if one.tool == name]) for name in names}
    others = [name for name in names if name != ours and ours in names]
    return {"tools": tools, "ratios": {f"{ours}/{name}": spread(_ratios(rounds, ours, name)) for name in others}}


def _tool_figures(rounds: Sequence[Round]) -> dict[str, Any]:
    good = [one for one in rounds if not one.failed]
    figures: dict[str, Any] = {name: spread(map(figure, good)) for name, figure in FIGURES.items()}
    said = [one.client_cpu_said_s / one.keys * 1e6 for one in good if one.client_cpu_said_s is not None]
    figures["client_cpu_said_us_per_key"] = spread(said)
    figures["failures"] = [f"round {one.number}: {one.failed}" for one in rounds if one.failed]
    return figures


def _ratios(rounds: Sequence[Round], ours: str, other: str) -> list[float]:
    """How many times faster `ours` was than the other tool, for each round in which both copied everything."""
    seconds = {(one.tool, one.number): one.seconds for one in rounds if not one.failed}
    numbers = sorted({one.number for one in rounds})
    pairs = [(seconds.get((ours, number)), seconds.get((other, number))) for number in numbers]
    return [theirs / ours for ours, theirs in pairs if ours and theirs]


def heading(result: dict[str, Any]) -> str:
    """The first line: between which servers, on which machine."""
    machine, loads = result["machine"], result["machine"]["load_average_at_start"]
    text = f"{result['versions']['server']} twice; {machine['cpu']}, {machine['cores']} cores, load {loads[0]}"
    return f"{text}; {result['rounds']} rounds"[:80]


def table(result: dict[str, Any]) -> str:
    """The figures of one data set for the terminal, at most 80 columns; `result` is one item of the JSON's `data`."""
    lines = [f"{result['name']}: {result['keys']:,} keys, {result['bytes'] / 1e6:,.0f} MB of values", result["what"]]
    lines += ["", f"{'':<44}{'---- CPU us/key ----':>25}".rstrip(), _HEAD]
    lines += [_row(name, figures) for name, figures in result["tools"].items()]
    lines += [
        f"{name}: {ratio['median']:.2f}x ({ratio['min']:.2f} - {ratio['max']:.2f})"
        for name, ratio in result["ratios"].items()
        if ratio
    ]
    return "\n".join([*lines, *_remarks(result["tools"])])


def _row(name: str, figures: dict[str, Any]) -> str:
    speed = figures["keys_per_second"]
    if not speed:
        return f"{name:<11}failed"
    extremes = f"{speed['min']:,.0f}-{speed['max']:,.0f}"
    client, source, target = (figures[f"{side}_cpu_us_per_key"]["median"] for side in ("client", "source", "target"))
    return (
        f"{name:<11}{speed['median']:>8,.0f}{extremes:>18}{figures['mb_per_second']['median']:>7,.1f}"
        f"{client:>9.2f}{source:>8.2f}{target:>8.2f}{figures['peak_pss_mb']['median']:>8.1f}"
    )


def _remarks(tools: dict[str, Any]) -> list[str]:
    """What the reader must know before believing the figures."""
    remarks = [f"! {name}, {failure}" for name, figures in tools.items() for failure in figures["failures"]]
    remarks += _own_count(tools.get(OURS, {}))
    shares = [figures["others_share"]["median"] for figures in tools.values() if figures["others_share"]]
    if shares and max(shares) > NOISE_SHARE:
        remarks.append(f"! others used up to {max(shares):.0%} of the processors: a noisy machine")
    return [line[:80] for line in remarks]


def _own_count(figures: dict[str, Any]) -> list[str]:
    """Three ways to count the processor time of keyferry's processes; marked when its own is far from the kernel's."""
    names = ("client_cpu_said_us_per_key", "client_cpu_us_per_key", "client_cpu_seen_us_per_key")
    if not all(figures.get(name) for name in names):
        return []
    said, counted, seen = (figures[name]["median"] for name in names)
    mark = "! " if abs(said / counted - 1) > CPU_TOLERANCE else ""
    return [f"{mark}keyferry's CPU us/key: {counted:.2f} (kernel), {seen:.2f} (/proc), {said:.2f} (own count)"]
