"""What `--source-rdbcompression off` brings, for mixed types of 2 KB: values that LZF cannot, and can, make smaller."""

from __future__ import annotations

from random import Random
from typing import Any

from bench.data import Dataset, Loaded, Part
from bench.peers import TOOLS, replicate
from bench.turns import Run
from tests.support.servers import Server

#: Keys of each set, as a part of --keys.
SHARE = 1 / 10
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


def measure(run: Run) -> list[dict[str, Any]]:
    """An item for noise and one for text."""
    tools = [replicate(mode, "--source-rdbcompression", mode) for mode in ("off", "on")]
    tools += [tool for tool in TOOLS if tool.name == "migrate" and tool.name in run.options.tools]
    keys = round(run.options.keys * SHARE)
    loaded = run.load(NOISE, keys)
    noise = run.take_turns(NOISE.name, NOISE.what, loaded, tools, ours="off")
    run.source.call("FLUSHALL", "SYNC")
    return [noise, run.take_turns("text", TEXT, load_text(keys, run.source), tools, ours="off")]
