#!/usr/bin/env python3
"""`bench/compression.py`: what `--source-rdbcompression off` brings, for mixed types of 2 KB. See README.md."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

if not __package__:  # started as a file: the packages are found from its folder's parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import facts
from bench.data import Dataset, Loaded, Part, load
from bench.peers import OURS, Tool, keyferry
from bench.report import heading, summarize, table
from bench.rounds import play
from tests.support.binaries import KINDS
from tests.support.servers import Server

#: Elements of a collection, and the bytes of each: 2 KB together; a string has them in one.
ELEMENTS, ELEMENT_BYTES = 40, 50
_SIZE = ("--elements", f"{ELEMENTS}-{ELEMENTS}", "--size", f"{ELEMENT_BYTES}-{ELEMENT_BYTES}")
_STRING = ("--types", "string=1", "--size", f"{ELEMENTS * ELEMENT_BYTES}-{ELEMENTS * ELEMENT_BYTES}")
NOISE = Dataset(
    "noise",
    "a fifth each strings, hashes, lists, sets, sorted sets; LZF tries in vain",
    1,
    (
        Part(0.2, (*_STRING, "--prefix", "string:")),
        Part(0.8, ("--types", "hash=1,list=1,set=1,zset=1", *_SIZE, "--prefix", "collection:")),
    ),
)
TEXT = "the same types of words and numbers, as in JSON; LZF makes them smaller"
WORDS = b"status active customer order created updated price total street number country name email true false".split()


def text_element(random: Random) -> bytes:
    """ELEMENT_BYTES of words and a number, distinct for all practical purposes."""
    words = b" ".join(random.choices(WORDS, k=ELEMENT_BYTES // 5))
    return (b"%012d " % random.randrange(10**12) + words)[:ELEMENT_BYTES]


def load_text(keys: int, source: Server) -> Loaded:
    """Add `keys` keys to the empty source, the same every time."""
    random = Random(1)
    with source.connect() as connection:
        for first in range(0, keys, 500):
            connection.pipeline(_text_key(random, number) for number in range(first, min(first + 500, keys)))
    return Loaded(keys, keys * ELEMENTS * ELEMENT_BYTES)


def _text_key(random: Random, number: int) -> tuple[bytes | str | int, ...]:
    elements = [text_element(random) for _ in range(ELEMENTS)]
    key = f"text:{number}"
    kind = number % 5
    if kind == 0:
        return ("SET", key, b"".join(elements))
    if kind == 1:
        return ("HSET", key, *(word for pair in enumerate(elements) for word in pair))
    if kind == 2:
        return ("RPUSH", key, *elements)
    if kind == 3:
        return ("SADD", key, *elements)
    return ("ZADD", key, *(word for pair in enumerate(elements) for word in pair))


def _tool(name: str, compression: str) -> Tool:
    words = ("--no-verify", "--json", "--source-rdbcompression", compression)
    return Tool(
        name, lambda _, source, target: [*keyferry(), "-p", f"{source}", "replicate", "-p", f"{target}", *words]
    )


#: `table` compares the others to the one with our name.
TOOLS = (_tool(OURS, "off"), _tool("on", "on"))


def measure(name: str, what: str, loaded: Loaded, rounds: int, source: Server, target: Server) -> dict[str, Any]:
    """Let both copy in turns; the item of the JSON's `data`."""
    done = [play(tool, number, name, loaded, source, target) for number in range(rounds) for tool in TOOLS]
    return {"name": name, "what": what, **asdict(loaded), **summarize(done), "rounds": [asdict(one) for one in done]}


def main() -> int:
    """0 when everything was copied every time, else 1."""
    parser = argparse.ArgumentParser(prog="bench/compression.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--kind", default="7.0", choices=KINDS, help="server (default: 7.0)")
    parser.add_argument("--keys", type=int, default=100_000, help="keys of each set (default: 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="copies of each set, both ways (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    given = parser.parse_args()
    with Server(given.kind) as source, Server(given.kind) as target:
        result = {"machine": facts.machine(), "versions": facts.versions(source), "rounds": given.rounds, "data": []}
        print(heading(result), flush=True)
        for name, what in ((NOISE.name, NOISE.what), ("text", TEXT)):
            source.call("FLUSHALL", "SYNC")
            noise = name == NOISE.name
            loaded = load(NOISE, given.keys, source.port, keyferry()) if noise else load_text(given.keys, source)
            result["data"].append(measure(name, what, loaded, given.rounds, source, target))
            print(f"\n{table(result['data'][-1])}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(tool["failures"] for data in result["data"] for tool in data["tools"].values()))


if __name__ == "__main__":
    sys.exit(main())
