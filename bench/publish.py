#!/usr/bin/env python3
"""Figures for readers: `bench/results/` with the JSON, its tables and a chart, and the block of README.md.

`python bench/publish.py` makes tables, chart and block again from the JSON that is there.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: the packages are found from its folder's parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.chart import chart
from bench.facts import ROOT
from bench.goals import goals
from bench.peers import OURS

RESULTS = ROOT / "bench" / "results"
README = ROOT / "README.md"
#: The kind of servers whose figures the README shows.
SHOWN = "7.0"
BASE = "migrate"
BEGIN, END = "<!-- figures: made by bench/publish.py -->", "<!-- end of figures -->"
COLUMNS = ("tool", "keys/s", "min - max", "MB/s", "client CPU, µs/key", "source", "target", "PSS, MB", "of floor")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def path_of(kind: str) -> Path:
    """Where the figures of this kind of servers are."""
    return RESULTS / f"{kind}.json"


def read(kind: str) -> dict[str, Any]:
    """What was published for this kind: `parts` by name; none without a file."""
    path = path_of(kind)
    return json.loads(path.read_text()) if path.exists() else {"parts": {}}


def publish(kind: str, parts: dict[str, Any]) -> None:
    """Put a run's parts into the file of their kind, in the place of the same parts of earlier runs, and render it."""
    result = read(kind)
    result["parts"] |= parts
    RESULTS.mkdir(exist_ok=True)
    path_of(kind).write_text(json.dumps(result, indent=1) + "\n")
    render(kind)


def render(kind: str) -> None:
    """Make the tables of this kind, and, where it is the one shown there, the chart and the README's block."""
    result = read(kind)
    path_of(kind).with_suffix(".md").write_text(tables(kind, result["parts"]))
    if kind == SHOWN and "copy" in result["parts"]:
        (RESULTS / "copy.svg").write_text(picture(result["parts"]["copy"]))
        README.write_text(with_block(README.read_text(), result["parts"]["copy"]))


def picture(part: dict[str, Any]) -> str:
    """The chart of the copy."""
    title = "Whole copies of one server to another, against native MIGRATE (1x)"
    return chart(title, _where(part), part["data"], BASE)


def with_block(text: str, part: dict[str, Any]) -> str:
    """README's text with this part's figures between its two marks. Raises ValueError without marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README.md has no place for figures")
    return before + BEGIN + "\n" + block(part) + END + after


def block(part: dict[str, Any]) -> str:
    """The figures that README shows: a chart and a table."""
    rows = [
        f"| {_where(part)} | keys/s | MB/s | times MIGRATE | CPU µs/key: keyferry, source, target |",
        "|---|---|---|---|---|",
    ]
    for item in part["data"]:
        found, ratio = item["tools"].get(OURS), item["ratios"].get(f"{OURS}/{BASE}")
        if found and found["seconds"] and ratio:
            cpu = ", ".join(
                f"{found[f'{side}_cpu_us_per_key']['median']:.3g}" for side in ("client", "source", "target")
            )
            speed, mb = found["keys_per_second"]["median"], found["mb_per_second"]["median"]
            times = f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"
            rows.append(f"| {item['keys']:,} {item['what']} | {speed:,.0f} | {mb:,.0f} | {times} | {cpu} |")
    alt = "Bars: keys a second of each tool by data set"
    return f"![{alt}](bench/results/copy.svg)\n\n" + "\n".join(rows) + "\n"


def tables(kind: str, parts: dict[str, Any]) -> str:
    """All figures of a kind as markdown."""
    lines = [
        f"# Figures, servers {kind}",
        "",
        "What they mean: [../README.md](../README.md). Made by `bench/publish.py`.",
        "",
    ]
    lines += ["| goal | wanted | reached | time, of the floor | |", "|---|---|---|---|---|"]
    for goal in goals(parts):
        outcome = "met" if goal.met else "not met"
        lines.append(f"| {goal.what} | {goal.wanted} | {goal.reached} | {goal.floor} | {outcome} |")
    for name, part in parts.items():
        when = f"{part['started']}, commit {part['versions']['commit']}"
        effort = f"{part['rounds']} rounds, {part['seconds']:.0f} s{_pace(part)}"
        lines += ["", f"## {name}", "", f"{_where(part, name)}; {when}, {effort}"]
        for item in part["data"]:
            lines += ["", *_item(item)]
    return "\n".join(lines) + "\n"


def _item(item: dict[str, Any]) -> list[str]:
    lines = [f"### {item['name']}: {item['keys']:,} keys, {item['bytes'] / 1e6:,.0f} MB", "", item["what"], "", HEAD]
    for name, figures in item["tools"].items():
        lines.append(_row(name, figures))
    lines += [
        f"| {name} | {ratio['median']:.2f}x | {ratio['min']:.2f} - {ratio['max']:.2f} | | | | | | |"
        for name, ratio in item["ratios"].items()
        if ratio
    ]
    return lines


def _row(name: str, figures: dict[str, Any]) -> str:
    if not figures["seconds"]:
        return f"| {name} | failed | | | | | | | |"
    speed = figures["keys_per_second"]
    middle = [f"{figures[f'{side}_cpu_us_per_key']['median']:.2f}" for side in ("client", "source", "target")]
    cells = [name, f"{speed['median']:,.0f}", f"{speed['min']:,.0f} - {speed['max']:,.0f}"]
    cells += [f"{figures['mb_per_second']['median']:,.1f}", *middle, f"{figures['peak_pss_mb']['median']:.0f}"]
    return "| " + " | ".join([*cells, f"{figures['of_floor']['median']:.2f}"]) + " |"


def _where(part: dict[str, Any], name: str = "") -> str:
    machine = part["machine"]
    servers = f"{'three masters of ' if name == 'cluster' else ''}{part['versions']['server']} twice"
    text = f"{servers}, {machine['cores']} cores ({machine['cpu']})"
    return f"{text}, Python {part['versions']['python']}"


def _pace(part: dict[str, Any]) -> str:
    """How fast Python was, of parts that tell it."""
    steps_ns = part["machine"].get("loop_ns")
    return f"; {steps_ns} ns a step of an empty loop" if steps_ns else ""


if __name__ == "__main__":
    for file in RESULTS.glob("*.json"):
        if re.fullmatch(r"\d\.\d", file.stem):
            render(file.stem)
