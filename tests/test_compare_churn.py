"""Comparisons, without --live, of a source that is written to twenty thousand times a second."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import assert_equal, differences
from tests.support.live import TOLERANCE_MS, generated, start_writer, wait_until
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import OUTCOMES

RATE = 20_000


def compared(source: Server, target: Server, file: Path, *words: str) -> tuple[int, dict, set[str]]:
    """The exit code, what is told, and the keys in the file of differences."""
    line = (*at(source), "compare", *at(target), "--json", "--diff-file", str(file), *words)
    ran = run_keyferry(*line, timeout=300)
    told = json.loads(ran.out)["verify"]
    return ran.code, told, {json.loads(line)["key"] for line in file.read_text().splitlines()}


@pytest.mark.parametrize(
    ("kind", "keys", "seconds"),
    [
        ("8.2", 2_000, 4),
        *(pytest.param(kind, 100_000, 30, marks=pytest.mark.soak) for kind in ("6.2", "7.0", "8.2", "9.1")),
    ],
)
def test_a_comparison_ends_under_writes_and_is_right_after_them(
    kind: str, keys: int, seconds: float, server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server(kind), server(kind)
    generated(source, keys)
    source.client.mset({f"still:{n}": "value" for n in range(keys)})
    ran = run_keyferry(*at(source), "replicate", *at(target), "--no-verify", timeout=120)
    assert ran.code == 0, ran.err

    before = source.call("INFO", "commandstats")
    with start_writer(source, keys, RATE, seconds, "--ttl", "1h-2h") as writer:
        wait_until(lambda: source.call("INFO", "commandstats").count(b"cmdstat_") > before.count(b"cmdstat_") + 5)
        code, told, found = compared(source, target, tmp_path / "during")
        wrote = writer.wait(seconds + 60)
    print(f"{wrote.out.strip()}\n{told['verdict']} changing {told['changing']} in {told['seconds']} s")
    assert code == 1
    assert found and not any(key.startswith("still:") for key in found)
    assert told["read"] == sum(told[outcome] for outcome in OUTCOMES)

    code, told, found = compared(source, target, tmp_path / "after")
    lines = differences(source, target, ttl_tolerance_ms=TOLERANCE_MS, limit=10 * keys)
    assert (code, told["changing"]) == (1, 0)
    assert found == {ast.literal_eval(line.partition(": ")[0]).decode() for line in lines}

    code, told, _ = compared(source, target, tmp_path / "repaired", "--repair", "--prune")
    assert (code, told["clean"]) == (0, True)
    assert_equal(source, target, ttl_tolerance_ms=TOLERANCE_MS)
