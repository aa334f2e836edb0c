"""The benchmark of the verification still runs."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.processes import start_command

ROOT = Path(__file__).resolve().parents[1]


def test_it_measures_copy_comparison_and_script_of_both_data_sets() -> None:
    words = (sys.executable, str(ROOT / "bench/verification.py"), "--keys", "2000", "--rounds", "1")
    words = (*words, "--pairs", "7.0:8.2")
    with start_command(*words) as run:
        ran = run.wait(60)
    assert ran.code == 0, ran.err
    names = [line.split()[0] for line in ran.out.splitlines() if line.startswith("  ")]
    assert names == ["copy", "compare", "redis-py"] * 2
