"""The benchmark of live copies still runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.support.processes import VERIFIED, start_command

ROOT = Path(__file__).resolve().parents[1]


def test_a_live_copy_is_measured_beside_changes_that_nobody_follows() -> None:
    words = ("--keys", "1000", "--rate", "300", "--seconds", "1", "--rounds", "1", "--feeds", "tracking")
    with start_command(sys.executable, str(ROOT / "bench/live.py"), *words, env=VERIFIED) as run:
        ran = run.wait(100)
    assert ran.code == 0, ran.err
    *_, nobody, listener, live = ran.out.splitlines()
    assert re.fullmatch(r"nobody +\d+ +\d+\.\d\d", nobody)
    assert re.fullmatch(r"tracking, a listener +\d+ +\d+\.\d\d", listener)
    assert re.fullmatch(r"tracking, live +\d+ +\d+\.\d\d +\d+\.\d\d s +\d+\.\d\d s +0", live)
