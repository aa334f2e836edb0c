"""One key looked at closely, reply by reply: what excuses it that only the target has it."""

from __future__ import annotations

from typing import Any

import pytest

from keyferry.workers.expiry import Clock
from keyferry.workers.finding import ONLY_TARGET, Finding
from keyferry.workers.look import Lens, look_for_extra
from keyferry.workers.structs.ask import SOURCE, TARGET, Times

LENS = Lens(Clock(absolute=True), Clock(absolute=True), Times(tolerance_ms=100))
NOW = [b"1000", b"0"]
GONE = [NOW, b"none", -2]
MORTAL, IMMORTAL = [NOW, b"string", 1_060_000], [NOW, b"string", -1]
SIZE = [5]


def looked(*replies: tuple[str, list[Any]]) -> Finding | bool:
    """What it comes to, when the sides answer like this, in this order."""
    steps = look_for_extra(b"key", LENS, ())
    ask = next(steps)
    for side, reply in replies:
        assert (ask.side, ask.count) == (side, len(reply))
        try:
            ask = steps.send(reply)
        except StopIteration as ended:
            return ended.value
    pytest.fail(f"more is asked of the {ask.side}")


@pytest.mark.parametrize("then", [GONE, [NOW, b"string", 1_000_050], [NOW, b"string", 999_999]])
def test_a_key_that_has_ended_at_the_target_when_it_is_looked_at_again_is_no_difference(then: list[Any]) -> None:
    assert looked((TARGET, MORTAL), (SOURCE, GONE), (TARGET, then)) is False


@pytest.mark.parametrize("then", [MORTAL, IMMORTAL])
def test_nothing_else_excuses_it(then: list[Any]) -> None:
    found = looked((TARGET, then), (SOURCE, GONE), (TARGET, then), (TARGET, SIZE))
    assert isinstance(found, Finding) and found.kind == ONLY_TARGET
