"""Tools take turns at one data set: A B C, A B C, …; what comes out is one item of the JSON's `data`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.data import Dataset, Loaded, load
from bench.options import Options
from bench.peers import OURS, Tool, keyferry
from bench.report import summarize, table
from bench.rounds import REST_S, Round, play
from tests.support.servers import Server


@dataclass(frozen=True)
class Run:
    """What the parts of a run share: what was asked for, and two servers."""

    options: Options
    source: Server
    target: Server

    def load(self, dataset: Dataset, keys: int) -> Loaded:
        """Have the source hold this data set and nothing else; `keys` is the number for a share of 1."""
        self.source.call("FLUSHALL", "SYNC")
        return load(dataset, keys, self.source.port, keyferry())

    def take_turns(
        self,
        name: str,
        what: str,
        loaded: Loaded,
        tools: Sequence[Tool],
        ours: str = OURS,
        rounds: int = 0,
        title: str = "",
    ) -> dict[str, Any]:
        """Let the tools copy what is loaded; prints the table. `name` is what the tools call the data, `ours` is
        compared to the others, `rounds` 0 means as many as were asked for, `title` is another name for the item.
        """
        done = []
        for number in range(rounds or self.options.rounds):
            for tool in tools:
                done.append(play(tool, number, name, loaded, self.source, self.target, self.rest_s))
                say(f"  {title or name} round {number + 1}: {tool.name} {done[-1].seconds:.2f} s {done[-1].failed}")
        return item_of(title or name, what, loaded, commands_of(tools, name), done, ours)

    @property
    def rest_s(self) -> float:
        """How long a target is left alone before a copy."""
        return 0.0 if self.options.smoke else REST_S


def item_of(
    name: str, what: str, loaded: Loaded, commands: dict[str, str], done: list[Round], ours: str = OURS
) -> dict[str, Any]:
    """What the rounds `done` say, for the JSON; prints the table."""
    item = {
        "name": name,
        "what": what,
        **asdict(loaded),
        "commands": commands,
        **summarize(done, ours),
        "rounds": [asdict(one) for one in done],
    }
    print(f"\n{table(item)}", flush=True)
    return item


def commands_of(tools: Sequence[Tool], data: str) -> dict[str, str]:
    """The command line of each tool for a data set."""
    return {tool.name: " ".join(_plain(tool.words(data, 1, 2))) for tool in tools}


def say(text: str) -> None:
    """A line about how far we are, beside the result."""
    print(text, file=sys.stderr, flush=True)


def _plain(words: list[str]) -> list[str]:
    """The command line without the folders of this machine."""
    return [Path(word).name if "/" in word else word for word in words]
