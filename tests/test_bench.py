"""The benchmark still runs and tells the truth about failures; how fast anything is, no test asks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.data import Loaded
from bench.measure import LEFT_S
from bench.peers import TOOLS, Tool
from bench.report import FIGURES, summarize, table
from bench.rounds import Round, play
from tests.conftest import ServerFactory
from tests.support import binaries
from tests.support.processes import start_command

ROOT = Path(__file__).resolve().parents[1]

#: Figures that come from looks at the processes or from the machine's ticks: 0 for a copy that takes a moment.
UNSEEN = {"others_share", "client_cpu_seen_us_per_key", "peak_pss_mb"}
TOOL_NAMES = {tool.name for tool in TOOLS}


def test_a_smoke_run_copies_every_set_with_every_tool_and_writes_all_figures(tmp_path: Path) -> None:
    binaries.find("7.0")
    with start_command(
        sys.executable, str(ROOT / "bench/run.py"), "--smoke", "--json", "out.json", cwd=str(tmp_path)
    ) as run:
        done = run.wait(100)
    assert done.code == 0, done.err
    assert not done.left
    assert max(map(len, done.out.splitlines())) <= 80
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["versions"]["server"].startswith("Redis 7.0.")
    assert result["machine"]["cores"] >= 1
    assert [data["name"] for data in result["data"]] == ["100B", "10KB", "mixed"]
    for data in result["data"]:
        check(data)


def check(data: dict[str, Any]) -> None:
    """One data set of the JSON is complete, and its figures are possible."""
    assert set(data["tools"]) == set(data["commands"]) == TOOL_NAMES
    assert len(data["rounds"]) == len(TOOL_NAMES)
    for figures in data["tools"].values():
        assert figures["failures"] == []
        for name in set(FIGURES) - UNSEEN:
            assert 0 < figures[name]["min"] <= figures[name]["median"] <= figures[name]["max"], name
    assert data["tools"]["keyferry"]["client_cpu_said_us_per_key"]["median"] > 0
    assert data["tools"]["keyferry"]["peak_pss_mb"]["median"] > 10
    assert set(data["ratios"]) == {"keyferry/migrate", "keyferry/pipeline"}
    assert all(ratio["median"] > 0 for ratio in data["ratios"].values())


def test_copies_with_and_without_compression_are_compared(tmp_path: Path) -> None:
    words = ("--keys", "300", "--rounds", "1", "--json", "out.json")
    env = {"XDG_STATE_HOME": str(tmp_path)}
    with start_command(sys.executable, str(ROOT / "bench/compression.py"), *words, cwd=str(tmp_path), env=env) as run:
        done = run.wait(100)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    result = json.loads((tmp_path / "out.json").read_text())
    assert [(data["name"], data["keys"]) for data in result["data"]] == [("noise", 300), ("text", 300)]
    for data in result["data"]:
        assert data["ratios"]["keyferry/on"]["median"] > 0
        assert all(figures["failures"] == [] for figures in data["tools"].values())


def test_a_tool_that_copies_nothing_has_failed(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "a", "1")
    idle = Tool("idle", lambda _data, _source, _target: [sys.executable, "-c", "pass"])
    done = play(idle, 0, "100B", Loaded(1, 1), source, target)
    assert done.failed == "0 keys arrived of 1"
    assert "! idle, round 0: 0 keys arrived of 1" in table(
        {**summarize([done]), "name": "", "what": "", "keys": 1, "bytes": 1}
    )


def test_a_process_that_outlives_its_command_is_counted_and_then_killed(server: ServerFactory) -> None:
    script = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {!r}], start_new_session=True)"
    busy = "import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(1000)"
    tool = Tool("orphans", lambda _data, _source, _target: [sys.executable, "-c", script.format(busy)])
    done = play(tool, 0, "100B", Loaded(1, 1), server("7.0"), server("7.0"))
    assert done.failed == "1 processes were left behind"
    assert done.client_cpu_s >= 0.5
    assert done.seconds < LEFT_S


def round_of(tool: str, number: int, seconds: float, failed: str = "") -> Round:
    """A round of 1,000 keys of 100 B that took so long."""
    return Round(tool, number, 1000, 100_000, seconds, 0.002, 0.002, None, 0.003, 0.001, 10**6, 0.0, failed)


def test_ratios_are_taken_round_by_round_and_without_failures() -> None:
    rounds = [round_of("keyferry", 0, 1.0), round_of("migrate", 0, 2.0)]
    rounds += [round_of("keyferry", 1, 2.0), round_of("migrate", 1, 8.0)]
    rounds += [round_of("keyferry", 2, 1.0), round_of("migrate", 2, 0.1, "it broke")]
    result = summarize(rounds)
    assert result["ratios"]["keyferry/migrate"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert result["tools"]["migrate"]["keys_per_second"] == {"median": 312.5, "min": 125.0, "max": 500.0}
    assert result["tools"]["migrate"]["failures"] == ["round 2: it broke"]
    assert result["tools"]["keyferry"]["client_cpu_us_per_key"]["median"] == pytest.approx(2.0)
