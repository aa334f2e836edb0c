"""The tools that are compared, as the command lines that copy one server of this machine to another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: COUNT of a SCAN of the redis-py copier, and so about the size of its pipelines.
PIPELINE_KEYS = 1000

#: Keys of one MIGRATE, by data set: where more of 10 to 30,000 bring no more speed (see README.md, "The peers").
MIGRATE_KEYS = {"100B": 10_000, "1KB": 3_000, "10KB": 300, "100KB": 30, "mixed": 10_000, "noise": 1_000, "text": 1_000}

#: The tool that the others are compared to by ratios.
OURS = "keyferry"

#: Environment variables that name the commands of tools that are not part of this project.
COMMANDS = {"redis-shake": "REDIS_SHAKE", "riot": "RIOT"}


@dataclass(frozen=True)
class Tool:
    """A tool; `words` gives its command line for a data set's name, the source's port and the target's port.

    `helpers` are processes that work for the tool, but are no part of it (a proxy): their time is nobody else's.
    """

    name: str
    words: Callable[[str, int, int], list[str]]
    helpers: tuple[int, ...] = ()


def keyferry() -> list[str]:
    """How to start keyferry: the installed command of this Python, else the module."""
    installed = Path(sys.executable).with_name("keyferry")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "keyferry"]


def replicate(name: str, *options: str, helpers: tuple[int, ...] = ()) -> Tool:
    """keyferry with these options, under a name of its own."""

    def words(_data: str, source: int, target: int) -> list[str]:
        return [*keyferry(), "-p", str(source), "replicate", "-p", str(target), "--no-verify", "--json", *options]

    return Tool(name, words, helpers)


def available() -> tuple[Tool, ...]:
    """Our tools, and those whose commands the environment names."""
    return TOOLS + tuple(tool for tool in PEERS if os.environ.get(COMMANDS[tool.name]))


def _pipeline(_data: str, source: int, target: int) -> list[str]:
    return _script("pipeline", source, target, PIPELINE_KEYS)


def _migrate(data: str, source: int, target: int) -> list[str]:
    return _script("migrate", source, target, MIGRATE_KEYS[data])


def _redis_shake(_data: str, source: int, target: int) -> list[str]:
    return _script("shake", source, target, os.environ[COMMANDS["redis-shake"]])


def _riot(_data: str, source: int, target: int) -> list[str]:
    return _script("riot", source, target, os.environ[COMMANDS["riot"]])


def _script(name: str, source: int, target: int, last: int | str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(f"{name}.py")), str(source), str(target), str(last)]


TOOLS = (replicate(OURS), Tool("migrate", _migrate), Tool("pipeline", _pipeline))
PEERS = (Tool("redis-shake", _redis_shake), Tool("riot", _riot))
