"""The command line of `bench/run.py`: what is measured, how often, between which servers, and where figures go."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.data import DATASETS
from bench.peers import PEERS, TOOLS, available
from tests.support.binaries import KINDS

#: What can be measured, in this order (the modules of bench/parts); the first ones make a run that is published.
PUBLISHED = ("copy", "compression", "distance", "limits", "memory")
PARTS = (*PUBLISHED, "methods", "growth", "cluster")
#: Parts about size; --scale names them.
SCALES = ("memory", "growth")

#: Keys of 100 B: of a run by hand, of one that is published, and of --smoke.
KEYS, PUBLISHED_KEYS, SMOKE_KEYS = 1_000_000, 2_000_000, 2_000
#: --smoke leaves out data sets whose way through the code is that of another one.
SMOKE_DATA = ("100B", "100KB", "mixed")


@dataclass(frozen=True)
class Options:
    """What was asked for. `keys` is the number of keys of a data set with a share of 1."""

    parts: tuple[str, ...]
    data: tuple[str, ...]
    tools: tuple[str, ...]
    kind: str
    keys: int
    rounds: int
    smoke: bool
    publish: bool
    json: Path | None


def parse(words: list[str] | None = None) -> Options:
    """The options of a command line; ends the program with code 2 where they are wrong."""
    parser = _parser()
    given = parser.parse_args(words)
    data = _known(parser, given.data, [one.name for one in DATASETS]) if given.data else ()
    tools = _known(parser, given.tools, [tool.name for tool in (*TOOLS, *PEERS)]) if given.tools else ()
    if missing := set(tools) - {tool.name for tool in available()}:
        parser.error(f"{', '.join(sorted(missing))}: its command has to be in the environment, see README.md")
    if (given.keys is not None and given.keys < 1) or given.rounds < 1:
        parser.error("--keys and --rounds are at least 1")
    usual = PUBLISHED_KEYS if given.publish or given.scale else KEYS
    return Options(
        parts=_parts(parser, given),
        data=data or (SMOKE_DATA if given.smoke else tuple(one.name for one in DATASETS)),
        tools=tools or tuple(tool.name for tool in available()),
        kind=given.kind,
        keys=SMOKE_KEYS if given.smoke else given.keys or usual,
        rounds=1 if given.smoke else given.rounds,
        smoke=given.smoke,
        publish=given.publish,
        json=given.json,
    )


def _parser() -> argparse.ArgumentParser:
    text = "keyferry against other ways to copy, interleaved in one run on one machine; see bench/README.md"
    parser = argparse.ArgumentParser(prog="bench/run.py", description=text, allow_abbrev=False)
    add = parser.add_argument
    add("--parts", help=f"what to measure, with commas between: {', '.join(PARTS)} (default: copy)")
    add(
        "--scale",
        metavar="PARTS",
        help=f"the same, of the parts about size: {', '.join(SCALES)}; {PUBLISHED_KEYS} keys",
    )
    add("--data", help="data sets of the copy (default: all)")
    add("--tools", help="tools, with commas between (default: all that are there)")
    add("--kind", default="7.0", choices=KINDS, help="server (default: 7.0)")
    add("--keys", type=int, help=f"keys of 100 B; other sets have a part of it (default: {KEYS})")
    add("--rounds", type=int, default=5, help="copies by each tool of each set (default: 5)")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    add("--publish", action="store_true", help=f"{PUBLISHED_KEYS} keys, {', '.join(PUBLISHED)}; into bench/results")
    add("--smoke", action="store_true", help=f"all parts, {SMOKE_KEYS} keys, one round: does it still run?")
    return parser


def _parts(parser: argparse.ArgumentParser, given: argparse.Namespace) -> tuple[str, ...]:
    if given.parts and given.scale:
        parser.error("--parts and --scale exclude each other")
    if given.parts:
        wanted = _known(parser, given.parts, PARTS)
    elif given.scale:
        wanted = _known(parser, given.scale, SCALES)
    else:
        wanted = PARTS if given.smoke else PUBLISHED if given.publish else ("copy",)
    return tuple(part for part in PARTS if part in wanted)


def _known(parser: argparse.ArgumentParser, text: str, names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(text.split(","))
    if unknown := set(found) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(names)}")
    return found
