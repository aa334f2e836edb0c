"""Hash slots: which slot a key has, windows in the order of slots, ranges of slots and the cursors that walk them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.partitioners.ranges import Cut
from keyferry.partitioners.slots import cut
from keyferry.workers.batch import Row, batch_of
from keyferry.workers.cursor import RING, cursor_at, position_of, position_of_slot, slot_at
from keyferry.workers.expiry import NEVER, Expiries
from keyferry.workers.resp import argument
from keyferry.workers.router import Router, Sink
from keyferry.workers.slots import (
    MASK,
    SLOTS,
    Owners,
    arranged,
    in_slot_order,
    owners_of,
    ranges_of,
    runs_of,
    slot_of,
    slots_of,
)
from keyferry.workers.write import strings_request
from tests.conftest import ServerFactory
from tests.support.servers import free_port

#: Single slots, and stretches of them.
some_slots = st.builds(
    lambda single, stretches: single.union(*(range(first, min(first + more, SLOTS)) for first, more in stretches)),
    st.sets(st.integers(0, MASK), max_size=50),
    st.lists(st.tuples(st.integers(0, MASK), st.sampled_from([2, 30, SLOTS // 2, SLOTS])), max_size=4),
)
keys = st.lists(st.binary(max_size=8) | st.sampled_from([b"{a}b", b"{}a", b"{a", b"a}{b}", b"{{a}}"]), max_size=40)
#: A hash tag of each of the first slots.
TAGS = {slot: n for n in range(50_000) if (slot := slot_of(b"%d" % n)) < 8}
#: Which of three nodes owns each slot: in stretches, as in life, or slot by slot.
owners = st.builds(
    lambda cuts: [sum(slot >= at for at in cuts) % 3 for slot in range(SLOTS)],
    st.lists(st.integers(0, MASK), max_size=6),
) | st.just([slot % 3 for slot in range(SLOTS)])


def test_slots_are_those_of_the_servers(server: ServerFactory) -> None:
    node = server("7.0", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    names = [
        b"123456789",
        b"foo{bar}",
        b"{}bar",
        b"a{b",
        b"",
        b"}{",
        b"foo{{bar}}zap",
        b"foo{bar}{zap}",
        b"\xff\x00{\r\n}",
    ]
    with node.connect() as connection:
        assert connection.pipeline(("CLUSTER", "KEYSLOT", key) for key in names) == slots_of(names)
    assert slots_of(names) == [slot_of(key) for key in names]


@given(keys)
def test_a_window_is_sorted_by_slot_and_loses_no_key(names: list[bytes]) -> None:
    ordered, slots = in_slot_order(names)
    assert sorted(ordered) == sorted(names)
    assert slots == sorted(slots) == [slot_of(key) for key in ordered] == slots_of(ordered)
    runs = runs_of(slots)
    assert [slot for begin, end in runs for slot in slots[begin:end]] == slots
    assert all(len(set(slots[begin:end])) == 1 for begin, end in runs) and len(runs) == len(set(slots))


@given(keys)
def test_a_window_is_sorted_where_slots_are_shared_and_else_left_as_it_is(names: list[bytes]) -> None:
    found, slots, shared = arranged(names)
    assert shared == (2 * len(set(slots_of(names))) <= len(names))
    assert (found, slots) == (in_slot_order(names) if shared else (names, slots_of(names)))


@given(st.dictionaries(st.integers(0, 7), st.integers(1, 300), min_size=1), st.data())
def test_the_slots_of_keys_that_come_slot_by_slot_are_found_by_few_looks(
    counts: dict[int, int], data: st.DataObject
) -> None:
    names = [b"{%d}%d" % (TAGS[slot], n) for slot, count in sorted(counts.items()) for n in range(count)]
    begin = data.draw(st.integers(0, len(names) - 1))
    names = names[begin : data.draw(st.integers(begin + 1, len(names)))]
    assert arranged(names, scanned=True) == arranged(names)


def test_few_looks_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [b"{%d}%d" % (TAGS[slot], n) for slot in range(4) for n in range(125)]
    asked: list[bytes] = []
    monkeypatch.setattr("keyferry.workers.slots.slot_of", lambda key: asked.append(key) or slot_of(key))
    assert arranged(names, scanned=True)[2] and len(asked) < 50


@given(st.lists(st.tuples(st.binary(max_size=8), st.sampled_from([-1, 5, 0])), max_size=40), owners, st.booleans())
def test_each_key_goes_to_the_node_that_owns_its_slot(
    rows: list[tuple[bytes, int]], by_slot: list[int], shared: bool
) -> None:
    if shared:
        rows.sort(key=lambda row: slot_of(row[0]))
    names, replies = [key for key, _ in rows], [reply for _, reply in rows]
    batch = batch_of(list(map(argument, names)), names, Expiries(replies, 0, 100), slots_of(names), shared)
    router = Router([Sink(number, None, later_ms=number) for number in range(3)], Owners(by_slot))  # type: ignore[arg-type]
    found: list[tuple[int, Row]] = []
    for sink, part in router.split(batch):
        for columns in (part.lasting, part.expiring):
            assert list(columns.slots) == [slot_of(key) for key in columns.values]
        assert part.slotted and (part.shared or not shared)
        found += [(sink.node, row) for row in part.in_order()]
    wanted = []
    for key, reply in rows:
        node = by_slot[slot_of(key)]
        if reply:
            wanted.append((node, (argument(key), key, NEVER if reply == -1 else reply + 100 + node)))
    assert sorted(found) == sorted(wanted)


def test_keys_in_any_order_are_written_one_by_one() -> None:
    names = [b"{b}1", b"{a}1", b"{b}2", b"{a}2"]
    batch = batch_of(list(map(argument, names)), names, Expiries([-1] * 4, 0, 0), slots_of(names), shared=False)
    request, replies = strings_request(batch, large=False)
    assert replies == 4 and isinstance(request, bytes) and request.count(b"SET") == 4 and b"MSET" not in request


def test_a_slot_that_has_moved_goes_to_its_new_node() -> None:
    nodes = Owners(owners_of([[(0, 99)], [(100, MASK)]]))
    assert list(nodes.pieces([5, 7, 100])) == [(0, 0, 2), (1, 2, 3)]
    nodes.move(7, 1)
    assert list(nodes.pieces([5, 7, 100])) == [(0, 0, 1), (1, 1, 2), (1, 2, 3)]


def test_a_node_that_owns_all_slots_of_some_ranges_is_found_until_one_moves() -> None:
    nodes = Owners(owners_of([[(0, 99)], [(100, 199)]]))
    assert [nodes.sole(ranges) for ranges in ([(0, 9), (50, 99)], [(100, 199)], [(99, 100)], [(150, 200)])] == [
        0,
        1,
        None,  # of two nodes
        None,  # 200 has no owner
    ]
    nodes.move(50, 1)
    assert nodes.sole([(0, 9), (50, 99)]) is None and nodes.sole([(0, 9), (51, 99)]) == 0


@given(st.sets(st.integers(0, MASK), max_size=50))
def test_ranges_hold_the_same_slots(slots: set[int]) -> None:
    ranges = ranges_of(sorted(slots))
    assert {slot for first, last in ranges for slot in range(first, last + 1)} == slots
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))


@given(st.integers(0, MASK), st.integers(0, (1 << 50) - 1))
def test_a_cursor_by_slot_is_a_position_and_back(slot: int, table: int) -> None:
    cursor = table << 14 | slot
    if cursor:
        position = position_of(cursor, by_slot=True)
        assert position_of_slot(slot) <= position < position_of_slot(slot + 1) and slot_at(position) == slot
        assert cursor_at(position, by_slot=True) == cursor
    assert cursor_at(position_of_slot(slot), by_slot=True) == slot


@settings(max_examples=30)
@given(
    st.dictionaries(st.integers(0, MASK), st.sampled_from([0, 1, 90, 3_000, 200_000]), max_size=200),
    some_slots,
    st.integers(1, 64),
)
def test_ranges_of_slots_cover_every_slot_once_but_those_left_out_and_none_is_large(
    counts: dict[int, int], left_out: set[int], lanes: int
) -> None:
    left_out -= counts.keys()
    cuts = cut(counts, lanes, left_out)
    wanted = ranges_of([slot for slot in range(SLOTS) if slot not in left_out])
    assert joined(cuts) == [(position_of_slot(first), position_of_slot(last + 1)) for first, last in wanted]
    assert sum(keys for *_, keys in cuts) == pytest.approx(sum(counts.values()), rel=0.01)
    assert all(keys <= 3 * 8192 for *_, keys in cuts)


def joined(cuts: list[Cut]) -> list[tuple[int, int]]:
    """The stretches that ranges cover together; none of them overlaps another."""
    stretches: list[tuple[int, int]] = []
    for start, end, _ in cuts:
        assert start < end and (not stretches or stretches[-1][1] <= start)
        if stretches and stretches[-1][1] == start:
            start = stretches.pop()[0]
        stretches.append((start, end))
    return stretches


def test_slots_without_keys_are_read_too() -> None:
    """A key may be written there before its range is read, and nobody else would look for it."""
    assert cut({7: 0, 8: 10, 9: 0}, lanes=8) == [(0, RING, 10)]
    others = set(range(SLOTS)) - {7, 8, 9}
    assert cut({7: 0, 8: 10, 9: 0}, 8, others) == [(position_of_slot(7), position_of_slot(10), 10)]
    assert cut(dict.fromkeys([7, 8, 9], 0), 8, others) == [(position_of_slot(7), position_of_slot(10), 0)]
    assert cut({}, 8, set(range(SLOTS))) == []
