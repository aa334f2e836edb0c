"""Two sides whose replies are the same bytes: the part in C says so of what is equal, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyferry.workers.unparsed import Alike, alike
from tests.support.compiled import compiled
from tests.support.replies import NESTED, NOW_MS, time_reply, wire

pytestmark = compiled

TELLING = st.binary(max_size=20) | st.lists(NESTED, min_size=1, max_size=4).map(tuple)
TOLD = st.lists(TELLING, max_size=6)
ARRAYS = st.integers(0, 3)


def side(values: Sequence[object], arrays: int, expiries: Sequence[int] | None, now_ms: int) -> bytearray:
    """What one side says of its keys: by itself, or as the parts of so many arrays."""
    cuts = [len(values) * place // arrays for place in range(arrays + 1)] if arrays else []
    told: list[object] = [tuple(values[begin:end]) for begin, end in pairwise(cuts)] if arrays else list(values)
    if expiries is not None:
        told += [time_reply(now_ms), *expiries]
    return bytearray(b"".join(map(wire, told)))


@given(TOLD, ARRAYS, st.booleans(), st.binary(max_size=5))
def test_the_same_words_at_another_time_are_alike(values: list[object], arrays: int, expire: bool, more: bytes) -> None:
    """Whatever follows is left to who has asked for it."""
    expiries = [-1 if place % 2 else NOW_MS + place for place in range(len(values))] if expire else None
    ours, theirs = side(values, arrays, expiries, NOW_MS), side(values, arrays, expiries, NOW_MS + 1_000_000)
    size = sum(len(value) for value in values if isinstance(value, bytes) and value != b"OK")
    found = alike(ours + more, theirs, len(values), arrays, expire)
    statuses = b"OK" in values  # `wire` sends these as no value is sent
    assert found == (None if statuses else Alike(size, len(ours), len(theirs)))


@given(TOLD, ARRAYS, st.booleans(), st.data())
def test_another_byte_is_not_alike(values: list[object], arrays: int, expire: bool, data: st.DataObject) -> None:
    """Anywhere but in TIME, and wherever one side ends."""
    assume(values and b"OK" not in values)
    expiries = [NOW_MS] * len(values) if expire else None
    ours = side(values, arrays, expiries, NOW_MS)
    place = data.draw(st.integers(0, len(ours) - 1))
    time_begins = len(side(values, arrays, None, 0))
    assume(not expire or not time_begins <= place < time_begins + len(wire(time_reply(NOW_MS))))
    changed = bytearray(ours)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert alike(ours, changed, len(values), arrays, expire) is None
    assert alike(ours, ours[:place], len(values), arrays, expire) is None
    assert alike(ours[:place], ours, len(values), arrays, expire) is None


@given(TOLD, st.integers(1, 3), st.sampled_from([-1, 1]))
def test_another_number_of_arrays_or_values_is_not_alike(values: list[object], arrays: int, more: int) -> None:
    """Though both sides say the same: it is not what was asked for."""
    assume(b"OK" not in values)
    said = side(values, arrays, None, 0)
    assert alike(said, said, len(values), arrays, False)
    assert alike(said, said, len(values) + more, arrays, False) is None
    assert alike(said, said, len(values), arrays + 1, False) is None


@pytest.mark.parametrize("word", [b"$-1\r\n", b"*0\r\n", b"*-1\r\n", b"-ERR no\r\n", b"+OK\r\n", b":1\r\n", b"*1\r\n"])
def test_what_tells_no_value_is_not_alike_though_both_say_it(word: bytes) -> None:
    """A key that is gone on both sides, or of another type, is looked at closely."""
    said = bytearray(b"$1\r\na\r\n" + word)
    assert alike(said, said, 2, 0, False) is None
    assert alike(said, said, 1, 0, False) == Alike(1, 7, 7)
