"""The set of names that changed: each is taken once, the oldest first, and a set that is full says so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyferry.workers.dirty import DirtySet


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


def test_a_set_that_is_full_forgets_everything_and_says_so() -> None:
    dirty = DirtySet(10_000)
    dirty.add(0, [b"key:%d" % number for number in range(200)], 1.0)
    assert dirty.full and len(dirty) == 0 and dirty.bytes == 0
