"""A server that is another one than before makes a run begin again, as often as makes sense."""

from __future__ import annotations

import pytest

from keyferry.logs import ERROR, Log
from keyferry.passes import PASSES_MAX, until_servers_stay
from keyferry.summary import Summary
from keyferry.workers.errors import AppearedError, ChangedError, RunError


def attempts_until(settled: int, why: type[ChangedError] = ChangedError) -> list[bool]:
    """Whether each attempt was told that it is not the first; servers stay the same from attempt `settled` on."""
    told: list[bool] = []

    def attempt(again: bool) -> Summary:
        told.append(again)
        if len(told) < settled:
            raise why("it was restarted", side="source", address="h:1")
        return Summary()

    until_servers_stay(Log(ERROR), attempt, lambda changed: "it begins again")
    return told


def test_it_begins_again_until_the_servers_stay() -> None:
    assert attempts_until(1) == [False]
    assert attempts_until(PASSES_MAX) == [False] + [True] * (PASSES_MAX - 1)


def test_databases_that_appear_are_no_servers_that_change() -> None:
    assert len(attempts_until(2 * PASSES_MAX, AppearedError)) == 2 * PASSES_MAX


def test_servers_that_change_all_the_time_end_it() -> None:
    with pytest.raises(RunError, match=rf"source h:1: it was restarted, {PASSES_MAX} times"):
        attempts_until(PASSES_MAX + 1)
