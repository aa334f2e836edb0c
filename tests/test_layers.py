"""Imports point down: engine → partitioners → workers; each library enters at one place; a start is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: What a layer may import of the layers: itself, and those below it.
BELOW = {
    "workers": {"workers"},
    "partitioners": {"partitioners", "workers"},
    "engine": {"engine", "partitioners", "workers"},
}

#: The only files that know a library; a folder stands for all of its files.
ENTRANCES = {
    "redis": set(),  # costs 0.1 s to import; the tests and the benchmarks use it
    "multiprocessing": {"engine/forkserver.py"},
    "tqdm": {"engine/progress.py"},
    "hdrh": {"engine/latency.py"},
    "hiredis": {"workers"},
    "msgpack": {"workers"},
}

#: None of these is loaded by a start that only shows help.
HEAVY = {"redis", "tqdm", "multiprocessing", "hiredis", "hdrh", "ssl"}


def files(root: Path) -> list[Path]:
    """The product's files below the project's folder `root`."""
    return [path for layer in BELOW for path in sorted((root / layer).rglob("*.py"))]


def imported(path: Path, root: Path) -> Iterator[str]:
    """What a file imports, wherever in the file: `keyferry.workers.task`, `redis`; relative names are made absolute."""
    package = [_installed_layer(path.relative_to(root).parts[0]), *path.relative_to(root).parts[1:-1]]
    own = ".".join(part for part in package if part).split(".")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = own[: len(own) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _installed_layer(folder: str) -> str:
    return "keyferry" if folder == "engine" else f"keyferry.{folder}"


def layer_of(name: str) -> str:
    """The folder that an imported name of the product lies in; '' for other people's."""
    first, _, rest = name.partition(".")
    second = rest.partition(".")[0]
    if first != "keyferry":
        return ""
    return second if second in BELOW else "engine"


def violations(root: Path) -> list[str]:
    """Each import that a layer must not have, as `file imports name`."""
    found = []
    for path in files(root):
        here = str(path.relative_to(root))
        folder = here.partition("/")[0]
        names = set(imported(path, root))
        if folder != "engine":
            names.discard("keyferry")  # `from .. import workers`: what it brings is a name of its own
        for name in sorted(names):
            if not _may_import(here, folder, name):
                found.append(f"{here} imports {name}")
    return found


def _may_import(here: str, folder: str, name: str) -> bool:
    if layer := layer_of(name):
        return layer in BELOW[folder]
    library = name.partition(".")[0]
    if library in ENTRANCES:
        return bool({here, folder} & ENTRANCES[library])
    return library in sys.stdlib_module_names


def test_what_tests_share_lies_in_their_support() -> None:
    """A test that imports another one cannot be collected once that one was moved or renamed."""
    tests = sorted((ROOT / "tests").glob("*.py"))
    assert [path.name for path in tests if any(name.startswith("tests.test_") for name in imported(path, ROOT))] == []


def test_imports_point_down_and_libraries_enter_at_one_file() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("workers/lane.py", "from ..partitioners import ranges"),
        ("workers/lane.py", "from keyferry.plans import Plan"),
        ("workers/lane.py", "from .. import plans"),
        ("workers/lane.py", "import redis"),
        ("workers/lane.py", "def late():\n    import numpy"),
        ("partitioners/probe.py", "from ..plans import Plan"),
        ("partitioners/probe.py", "import redis.asyncio"),
        ("partitioners/probe.py", "import hiredis"),
        ("engine/copying.py", "import multiprocessing"),
        ("engine/copying.py", "from tqdm import tqdm"),
        ("engine/commands/ping.py", "import redis"),
    ],
)
def test_a_planted_violation_is_found(file: str, line: str, tmp_path: Path) -> None:
    planted = tmp_path / file
    planted.parent.mkdir(parents=True)
    planted.write_text(line + "\n")
    assert violations(tmp_path)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("workers/lane.py", "from .link import Link"),
        ("workers/lane.py", "import hiredis, msgpack, socket"),
        ("partitioners/probe.py", "from ..workers.cursor import RING"),
        ("engine/commands/ping.py", "from ..partitioners.control import Control"),
    ],
)
def test_what_is_allowed_is_not_reported(file: str, line: str, tmp_path: Path) -> None:
    planted = tmp_path / file
    planted.parent.mkdir(parents=True)
    planted.write_text(line + "\n")
    assert violations(tmp_path) == []


def loaded_by(*words: str) -> set[str]:
    """The top-level modules that a real run of the command has loaded at its end."""
    show = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    code = show + "import runpy; runpy.run_module('keyferry', run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=30, check=True)
    return {name.partition(".")[0] for name in ran.stderr.split()}


@pytest.mark.parametrize("words", [["--help"], ["replicate", "--help"], ["demo", "--help"], ["--version"], []])
def test_showing_help_loads_nothing_heavy(words: list[str]) -> None:
    loaded = loaded_by(*words)
    assert "keyferry" in loaded
    assert not HEAVY & loaded


def test_a_heavy_import_at_the_start_would_be_seen() -> None:
    code = "import sys, hiredis; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert HEAVY & set(ran.stdout.split())


def test_nobody_finds_a_top_level_package_called_engine_or_workers() -> None:
    """They are installed as parts of keyferry; at the top they would collide with other people's."""
    code = (
        "from importlib.util import find_spec as f; print([n for n in ('engine', 'workers', 'partitioners') if f(n)])"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True, cwd="/"
    )
    assert ran.stdout.strip() == "[]"


def test_the_architecture_names_every_file_where_it_belongs() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("\n## Where to look\n")[2]
    parts = dict(part.split("\n", 1) for part in text.split("\n### ")[1:])
    for layer in BELOW:
        named = set(re.findall(r"`([\w/]+\.py)`", parts[layer])) - {"__init__.py"}
        there = [path.relative_to(ROOT / layer) for path in files(ROOT) if path.is_relative_to(ROOT / layer)]
        assert named == {str(path).removeprefix("structs/") for path in there if path.name != "__init__.py"}, layer
