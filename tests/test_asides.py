"""The keys that a live copy could not copy so far."""

from __future__ import annotations

from typing import Any

import pytest

from keyferry.asides import Asides
from keyferry.ledger import Entry
from keyferry.losses import Losses
from keyferry.workers.errors import RunError
from keyferry.workers.news import Aside
from keyferry.workers.setup import Setup
from keyferry.workers.task import COPY_KEYS, Task
from tests.support.live_parts import live_copy


def aside(key: bytes, db: int = 0, reason: str = "too large") -> Aside:
    return Aside(key, db, "list", 7, reason)


def test_each_key_is_there_once_with_what_was_said_last() -> None:
    asides = Asides()
    assert list(asides) == [] and not asides.has(0, b"a")
    for one in (aside(b"a"), aside(b"\xff\x00", reason="é"), aside(b"a", db=1), aside(b"a", reason="refused")):
        asides.put(one)
    assert set(asides) == {aside(b"a", reason="refused"), aside(b"\xff\x00", reason="é"), aside(b"a", db=1)}
    assert asides.has(1, b"a") and not asides.has(1, b"b")


def test_what_was_copied_later_is_taken_out_in_its_database() -> None:
    asides = Asides()
    asides.take_out(0, [b"a"])
    for db in (0, 1):
        asides.put(aside(b"a", db))
    asides.take_out(0, [b"a", b"b"])
    assert list(asides) == [aside(b"a", 1)]


def test_a_full_disk_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asides = Asides()
    asides.put(aside(b"a"))
    assert asides._table
    asides._table.execute("PRAGMA max_page_count = 1")
    with pytest.raises(RunError, match="cannot use a temporary file: database or disk is full"):
        for number in range(10_000):
            asides.put(aside(b"%d" % number))


def test_a_key_that_kills_workers_is_taken_out_as_well_when_it_is_copied_later() -> None:
    live, run = live_copy()
    told: list[Any] = []
    run.live, run.supply, run.controls, run.say, run.setup = live, None, None, told.append, Setup([], [])
    Losses(run)._take_apart(Entry(Task(5, COPY_KEYS, keys=[b"a"]), 0, deaths=3))
    assert live.asides.has(0, b"a") and told
