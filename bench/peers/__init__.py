"""The tools that are compared, as the command lines that copy one server of this machine to another."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: COUNT of a SCAN of the redis-py copier, and so about the size of its pipelines.
PIPELINE_KEYS = 1000

#: Keys of one MIGRATE, by data set: where more of 10 to 30,000 bring no more speed (see README.md, "The peers").
MIGRATE_KEYS = {"100B": 10_000, "10KB": 300, "mixed": 10_000}

#: The tool that the others are compared to by ratios.
OURS = "keyferry"


@dataclass(frozen=True)
class Tool:
    """A tool; `words` gives its command line for a data set's name, the source's port and the target's port."""

    name: str
    words: Callable[[str, int, int], list[str]]


def keyferry() -> list[str]:
    """How to start keyferry: the installed command of this Python, else the module."""
    installed = Path(sys.executable).with_name("keyferry")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "keyferry"]


def _keyferry(_data: str, source: int, target: int) -> list[str]:
    return [*keyferry(), "-p", str(source), "replicate", "-p", str(target), "--no-verify", "--json"]


def _pipeline(_data: str, source: int, target: int) -> list[str]:
    return _script("pipeline", source, target, PIPELINE_KEYS)


def _migrate(data: str, source: int, target: int) -> list[str]:
    return _script("migrate", source, target, MIGRATE_KEYS[data])


def _script(name: str, source: int, target: int, batch: int) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(f"{name}.py")), str(source), str(target), str(batch)]


TOOLS = (Tool(OURS, _keyferry), Tool("migrate", _migrate), Tool("pipeline", _pipeline))
