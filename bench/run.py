#!/usr/bin/env python3
"""`bench/run.py`: keyferry against other ways to copy, interleaved in one run on one machine. See README.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: the packages are found from its folder's parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import facts
from bench.data import DATASETS, Dataset, load
from bench.peers import TOOLS, keyferry
from bench.report import heading, summarize, table
from bench.rounds import play
from tests.support.binaries import KINDS, MissingServer
from tests.support.servers import Server

#: --smoke: every tool copies every data set once, in a few seconds together.
SMOKE_KEYS = 2000


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; the lists of names are tuples of known names."""
    names, tools = tuple(one.name for one in DATASETS), tuple(tool.name for tool in TOOLS)
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--kind", default="7.0", choices=KINDS, help="server (default: 7.0)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys of 100 B; other sets have a part of it")
    parser.add_argument("--rounds", type=int, default=5, help="copies by each tool of each set (default: 5)")
    parser.add_argument("--data", default=",".join(names), help="sets, with commas between (default: %(default)s)")
    parser.add_argument("--tools", default=",".join(tools), help="tools, with commas between (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE_KEYS} keys, one round: does it still run?")
    given = parser.parse_args(words)
    given.data, given.tools = _known(parser, given.data, names), _known(parser, given.tools, tools)
    if given.keys < 1 or given.rounds < 1:
        parser.error("--keys and --rounds are at least 1")
    if given.smoke:
        given.keys, given.rounds = SMOKE_KEYS, 1
    return given


def _known(parser: argparse.ArgumentParser, text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(text.split(","))
    if unknown := set(found) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(names)}")
    return found


def measure_dataset(dataset: Dataset, given: argparse.Namespace, source: Server, target: Server) -> dict[str, Any]:
    """Load the set, let the tools copy it in turns, and give its item of the JSON's `data`."""
    source.call("FLUSHALL", "SYNC")
    loaded = load(dataset, given.keys, source.port, keyferry())
    tools = [tool for tool in TOOLS if tool.name in given.tools]
    rounds = []
    for number in range(given.rounds):
        for tool in tools:
            rounds.append(play(tool, number, dataset.name, loaded, source, target))
            say(f"  {dataset.name} round {number + 1}: {tool.name} {rounds[-1].seconds:.2f} s {rounds[-1].failed}")
    return {
        "name": dataset.name,
        "what": dataset.what,
        "generate": [list(part.options) for part in dataset.parts],
        **asdict(loaded),
        "commands": {tool.name: " ".join(_plain(tool.words(dataset.name, 1, 2))) for tool in tools},
        **summarize(rounds),
        "rounds": [asdict(one) for one in rounds],
    }


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all sets between two servers of our own; prints each table as soon as it is known."""
    result: dict[str, Any] = {"machine": facts.machine(), "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    with Server(given.kind) as source, Server(given.kind) as target:
        result |= {"versions": facts.versions(source), "keys": given.keys, "rounds": given.rounds, "data": []}
        print(heading(result), flush=True)
        for dataset in DATASETS:
            if dataset.name in given.data:
                result["data"].append(measure_dataset(dataset, given, source, target))
                print(f"\n{table(result['data'][-1])}", flush=True)
    return result


def say(text: str) -> None:
    """A line about how far we are, beside the result."""
    print(text, file=sys.stderr, flush=True)


def _plain(words: list[str]) -> list[str]:
    """The command line without the folders of this machine."""
    return [Path(word).name if "/" in word else word for word in words]


def main() -> int:
    """0 when every tool copied everything, 1 when a round failed, 3 without the server's program."""
    given = arguments()
    try:
        result = run(given)
    except MissingServer as missing:
        say(str(missing))
        return 3
    except subprocess.CalledProcessError as failed:
        say(f"{_plain(failed.cmd)[0]} failed: {failed.stderr}")
        return 1
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(tool["failures"] for data in result["data"] for tool in data["tools"].values()))


if __name__ == "__main__":
    sys.exit(main())
