"""The set of names that changed: each is taken once, the oldest first, and a set that is full says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.workers.dirty import WIRE_BYTES, DirtySet, wire_bytes


@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.binary(max_size=4), max_size=8)), max_size=30), st.integers(1, 60)
)
def test_what_is_added_is_taken_once_and_oldest_first(adds: list[tuple[int, list[bytes]]], room: int) -> None:
    dirty = DirtySet(1 << 20)
    for at, (db, keys) in enumerate(adds, 1):
        dirty.add(db, keys, float(at))
    taken: dict[int, list[bytes]] = {}
    while len(dirty):
        for one in dirty.take(room):
            assert one.oldest <= one.newest
            taken.setdefault(one.db, []).extend(one.keys)
    for db in range(3):
        added = [key for where, keys in adds if where == db for key in keys]
        assert taken.get(db, []) == list(dict.fromkeys(added))
    assert dirty.bytes == 0 and dirty.oldest == 0.0


@pytest.mark.parametrize("room", [1, 100, 5_000])
def test_no_database_waits_for_another_that_is_always_written(room: int) -> None:
    """However little is taken at a time, and whichever of the two was written first."""
    for busy, quiet in ((0, 1), (1, 0)):
        dirty = DirtySet(1 << 20)
        dirty.add(busy, [b"busy:%d" % number for number in range(2_000)], 1.0)
        dirty.add(quiet, [b"quiet"], 2.0)
        taken: list[int] = []
        for turn in range(3):
            taken += [one.db for one in dirty.take(room)]
            dirty.add(busy, [b"busy:%d:%d" % (turn, number) for number in range(2_000)], 3.0 + turn)
        assert quiet in taken
        assert taken.count(busy) == 3


def test_what_a_database_does_not_need_is_left_to_the_others() -> None:
    dirty = DirtySet(1 << 20)
    for db, count in ((0, 1_000), (1, 3), (2, 1_000)):
        dirty.add(db, [b"key:%04d" % number for number in range(count)], 1.0)
    taken = {one.db: len(one.keys) for one in dirty.take(2_003 * len(b"key:0000") // 2)}
    assert taken[1] == 3
    assert abs(taken[0] - taken[2]) <= 1 and taken[0] + taken[2] > 500


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 50), min_size=1), st.integers(1, 2_000))
def test_each_database_gets_its_share_and_little_more_than_the_room_is_taken(counts: dict[int, int], room: int) -> None:
    dirty = DirtySet(1 << 20)
    for db, count in counts.items():
        dirty.add(db, [b"key:%02d" % number for number in range(count)], 1.0)
    taken = dirty.take(room)
    assert {one.db for one in taken} == set(counts)
    one_name = len(b"key:00") + WIRE_BYTES
    assert sum(map(wire_bytes, taken)) <= room + one_name * len(counts)
    least = room // len(counts) - one_name  # one before may have taken the last one a little beyond its own share
    assert all(wire_bytes(one) >= least or len(one.keys) == counts[one.db] for one in taken)


def test_a_set_that_is_full_forgets_everything_and_says_so() -> None:
    dirty = DirtySet(10_000)
    dirty.add(0, [b"key:%d" % number for number in range(200)], 1.0)
    assert dirty.full and len(dirty) == 0 and dirty.bytes == 0
