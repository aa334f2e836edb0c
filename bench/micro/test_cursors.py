"""Cursors: positions of SCAN replies on the ring."""

from __future__ import annotations

from typing import Any

from bench.micro.conftest import KEYS
from keyferry.workers.cursor import cursor_at, position_of, tile

CURSORS = [(number * 0x9E3779B97F4A7C15) % (1 << 24) for number in range(1, KEYS + 1)]


def test_positions(benchmark: Any) -> None:
    positions = benchmark(lambda: list(map(position_of, CURSORS)))
    assert list(map(cursor_at, positions)) == CURSORS


def test_ranges(benchmark: Any) -> None:
    assert len(benchmark(tile, KEYS)) == KEYS
