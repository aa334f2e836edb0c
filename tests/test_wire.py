"""The small parts of the wire: cursors, requests, replies, messages, and the table of error replies."""

from __future__ import annotations

from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.workers import endpoint
from keyferry.workers.batch import Batch, Row, batch_of, single
from keyferry.workers.budget import WINDOW_BYTES, Budget
from keyferry.workers.choose import FIRST_WINDOW_KEYS, Chooser
from keyferry.workers.cursor import RING, cursor_at, expected_keys, position_of, rev64, tile
from keyferry.workers.expiry import LATEST, NEVER, Clock, Expiries
from keyferry.workers.filters import Filters
from keyferry.workers.news import Aside, Counts, Progress, Report
from keyferry.workers.pace import Share
from keyferry.workers.policy import Action, rule_for
from keyferry.workers.read import Method, database_has_expiries, fields_may_expire
from keyferry.workers.resp import argument, argument_value, command, info_fields
from keyferry.workers.setup import Node, Order, Setup
from keyferry.workers.slots import slot_of, slots_of
from keyferry.workers.task import COPY_KEYS, COPY_RANGE, Task
from keyferry.workers.write import MSET_BYTES, Build, payloads_request, strings_request

positions = st.integers(0, RING - 1)


@given(positions)
def test_reversing_bits_twice_changes_nothing(position: int) -> None:
    assert rev64(rev64(position)) == position
    assert position_of(cursor_at(position)) == (position or RING)


@given(st.integers(1, 1 << 12))
def test_ranges_tile_the_ring(ranges: int) -> None:
    cuts = tile(ranges)
    assert len(cuts) == ranges
    assert cuts[0][0] == 0 and cuts[-1][1] == RING
    assert all(first[1] == second[0] for first, second in zip(cuts, cuts[1:], strict=False))
    assert all(start < end for start, end in cuts)
    # Safe for middlemen that read cursors as signed or as 32 bits.
    assert all(cursor_at(start) < 1 << 32 for start, _ in cuts)


@given(st.integers(0, 62), st.data())
def test_a_scan_of_a_table_advances_through_all_its_buckets(bits: int, data: st.DataObject) -> None:
    """The server's own step (dictScan: set the unmasked bits, add one to the reversed cursor) against our positions."""
    size = 1 << bits
    cursor = data.draw(st.integers(0, size - 1))
    following = rev64((rev64(cursor | (~(size - 1) & (RING - 1))) + 1) & (RING - 1))
    reached = position_of(following)
    assert reached == position_of(cursor) % RING + RING // size


@given(st.integers(0, RING), st.integers(0, 10**9))
def test_the_whole_ring_is_expected_to_hold_all_keys(cut: int, keys: int) -> None:
    total = expected_keys(0, cut, keys) + expected_keys(cut, RING, keys)
    assert total == pytest.approx(keys)


@given(st.lists(st.binary(max_size=50), min_size=1))
def test_a_request_is_read_back_as_its_words(words: list[bytes]) -> None:
    reader = hiredis.Reader()
    reader.feed(command(*words))
    assert reader.gets() == words
    assert [argument_value(argument(word)) for word in words] == words


NOW_MS = 10**12
AMPLE = Budget(64 << 20)
rows = st.lists(
    st.tuples(
        st.binary(max_size=20).map(argument), st.binary(max_size=9000), st.just(NEVER) | st.integers(NOW_MS + 1, 10**13)
    )
)


@given(rows, st.booleans())
def test_every_key_is_written_once_with_its_expiry(rows: list[Row], large: bool) -> None:
    expiries = Expiries.told([instant or -1 for _, _, instant in rows], NOW_MS, Clock(absolute=True))
    batch = batch_of([key for key, _, _ in rows], [value for _, value, _ in rows], expiries)
    assert len(batch) == len(rows)
    parts = [batch, *map(single, rows)]
    wanted = sorted((argument_value(key), value, instant) for key, value, instant in rows)
    for build in (strings_request, payloads_request):
        assert sorted(sent(build, batch, large)) == wanted
        assert sorted(row for part in parts[1:] for row in sent(build, part, large)) == wanted


@given(st.lists(st.integers(0, 2 * MSET_BYTES), max_size=12))
def test_large_values_are_written_by_few_commands_of_bounded_size(sizes: list[int]) -> None:
    keys = [argument(b"%d" % number) for number in range(len(sizes))]
    batch = batch_of(keys, [bytes(size) for size in sizes], Expiries.told([-1] * len(sizes), NOW_MS, Clock(True)))
    commands = commands_of(strings_request, batch, large=True)
    assert sorted(written(commands)) == sorted((b"%d" % at, bytes(size), NEVER) for at, size in enumerate(sizes))
    loads = [list(map(len, one[2::2] if one[0] == b"MSET" else one[2:3])) for one in commands]
    assert all(sum(load) <= MSET_BYTES or len(load) == 1 for load in loads)
    # None could have taken the first value of the next one as well.
    together = [sum(load) + following[0] <= MSET_BYTES for load, following in pairwise(loads)]
    assert not any(together), loads


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, MSET_BYTES)), max_size=16), st.booleans())
def test_in_a_cluster_an_mset_has_keys_of_one_slot(drawn: list[tuple[int, int]], large: bool) -> None:
    sizes = {b"{%d}%d" % (tag, number): size for number, (tag, size) in enumerate(drawn)}
    names = sorted(sizes, key=slot_of)
    never = Expiries.told([-1] * len(names), NOW_MS, Clock(True))
    batch = batch_of(list(map(argument, names)), [bytes(sizes[name]) for name in names], never, slots_of(names))
    commands = commands_of(strings_request, batch, large)
    assert sorted(written(commands)) == sorted((name, bytes(sizes[name]), NEVER) for name in names)
    for one in commands:
        assert len(set(map(slot_of, one[1::2] if one[0] == b"MSET" else one[1:2]))) == 1


def sent(build: Build, batch: Batch, large: bool) -> list[tuple[bytes, bytes, int]]:
    """What a server would hold after a request that `build` makes of the batch."""
    return written(commands_of(build, batch, large))


def commands_of(build: Build, batch: Batch, large: bool) -> list[list[bytes]]:
    """The commands of a request that `build` makes of the batch: as many as it says."""
    request, replies = build(batch, large)
    reader = hiredis.Reader()
    reader.feed(request if isinstance(request, bytes) else b"".join(request))
    commands = [reader.gets() for _ in range(replies)]
    assert reader.gets() is False
    return commands


@given(
    st.lists(st.sampled_from([-2, -1, 0, LATEST]) | st.integers(1, 2 * NOW_MS) | st.integers(1, LATEST)),
    st.booleans(),
    st.integers(-(10**6), 10**6),
)
def test_a_batch_holds_the_keys_that_are_there(replies: list[int], absolute: bool, shift_ms: int) -> None:
    expiries = Expiries.told(replies, NOW_MS, Clock(absolute, shift_ms))
    keys = [argument(b"%d" % number) for number in range(len(replies))]
    batch = batch_of(keys, keys, expiries)
    lasting, expiring = batch.lasting, batch.expiring
    rows = [(key, value, NEVER) for key, value in zip(lasting.keys, lasting.values, strict=True)]
    rows += zip(expiring.keys, expiring.values, expiring.instants, strict=True)
    told = zip(keys, expiries.instants(), strict=True)
    assert sorted(rows) == sorted((key, key, instant) for key, instant in told if instant is not None)
    again = Expiries(expiries.settled(), 0, 0)
    assert again.instants() == expiries.instants()


def written(commands: list[list[bytes]]) -> list[tuple[bytes, bytes, int]]:
    """What a server would hold after the commands: key, value, instant."""
    found = []
    for name, *words in commands:
        if name == b"MSET":
            found += [(key, value, 0) for key, value in zip(words[::2], words[1::2], strict=True)]
        elif name == b"SET":
            assert len(words) == 2 or words[2] == b"PXAT"
            found.append((words[0], words[1], int(words[3]) if len(words) > 2 else 0))
        else:
            assert name == b"RESTORE" and words[3] == b"REPLACE"
            assert (words[4:] == [b"ABSTTL"]) == (int(words[1]) > 0)
            found.append((words[0], words[2], int(words[1])))
    return found


STATES = ["LOADING", "OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN"]


@pytest.mark.parametrize("state", [*STATES, "BUSY Redis is busy running a script."])
def test_states_that_pass_are_waited_for(state: str) -> None:
    assert rule_for(f"{state} some words").action is Action.WAIT


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("MOVED 3999 127.0.0.1:6381", Action.REDIRECT),
        ("ASK 3999 127.0.0.1:6381", Action.SPLIT),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Action.SPLIT),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Action.OTHER_METHOD),
        ("ERR DUMP payload version or checksum are wrong", Action.PUT_ASIDE),
        ("ERR Bad data format", Action.PUT_ASIDE),
        ("BUSYKEY Target key name already exists.", Action.PUT_ASIDE),
        ("NOPERM this user has no permissions to run the 'dump' command", Action.STOP),
        ("NOPERM this user has no permissions to run the 'get' command or its subcommand", Action.STOP),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", Action.PUT_ASIDE),
        ("NOPERM No permissions to access a key", Action.PUT_ASIDE),
        ("NOAUTH Authentication required.", Action.STOP),
        ("WRONGPASS invalid username-password pair or user is disabled.", Action.STOP),
        ("ERR unknown command 'DUMP', with args beginning with: ", Action.STOP),
        ("ERR Protocol error: invalid bulk length", Action.PUT_ASIDE),
        ("ERR Protocol error: invalid multibulk length", Action.STOP),
        ("ERR something that nobody foresaw", Action.PUT_ASIDE),
        ("GREETINGS from a server of the future", Action.PUT_ASIDE),
    ],
)
def test_every_error_reply_has_a_meaning(reply: str, action: Action) -> None:
    assert rule_for(reply).action is action


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (b"# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0\r\n", False),
        (b"# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0,subexpiry=0\r\n", False),
        (b"# Keyspace\r\ndb0:keys=5,expires=10,avg_ttl=3\r\n", True),
        (b"# Keyspace\r\ndb10:keys=5,expires=0,avg_ttl=0\r\n", True),
        (b"# Keyspace\r\n", True),
        (hiredis.ReplyError("NOPERM"), True),
    ],
)
def test_only_a_clear_zero_means_that_nothing_expires(info: object, expected: bool) -> None:
    assert database_has_expiries(info, 0) is expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (b"# Keyspace\r\ndb0:keys=5,expires=10,avg_ttl=3,subexpiry=0\r\n", False),
        (b"# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0,keys_with_volatile_items=0\r\n", False),
        (b"# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0,subexpiry=10\r\n", True),
        (b"# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0,subexpiry=1\r\ndb1:keys=1,subexpiry=0\r\n", True),
        (b"# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0\r\n", True),
        (b"# Keyspace\r\n", True),
        (hiredis.ReplyError("NOPERM"), True),
    ],
)
def test_only_a_clear_zero_means_that_no_field_expires(info: object, expected: bool) -> None:
    assert fields_may_expire(info, 0) is expected


def test_messages_survive_the_pipe() -> None:
    task = Task(7, COPY_RANGE, db=3, start=5, end=RING, db_keys=10)
    keys = Task(8, COPY_KEYS, keys=[b"\xff\x00", b""], end=1)
    order = Order([task, keys], shifts=[[-3]], credit=2, share=Share(2.5, None, 0.01), drain=True)
    assert Order.unpack(order.pack()) == order
    assert Order.unpack(Order().pack()) == Order()
    news = [
        Progress(7, RING, Counts(1, 2, 3, 4, 5, 6), [Aside(b"\xff", 0, "hash", 9, "why")], finished=True),
        Progress(8, RING - 1, Counts(), listed=[b"a", b"\xfe"], opaque="why"),
    ]
    report = Report(news, free=3, waiting="w", cpu_s=1.5, clients=[["target", 0, 12]], failure={"kind": "RunError"})
    assert Report.unpack(report.pack()) == report
    at = endpoint.Endpoint(password="secret", db=3, seeds=(("h", 1),), remap=(("a:1", "b:2"),))
    node = Node(at, run_id="r", no_touch=True)
    filters = Filters(b"\xff*", [b"a"], [], ["hash"], ends_from_ms=5, scan_match=True, slots=[[1, 2]])
    setup = Setup([node], [node], job="j", epoch=3, filters=filters, synth={"keys": 1})
    assert Setup.unpack(setup.pack()) == setup


def test_info_is_read_line_by_line() -> None:
    assert info_fields(b"# Server\r\nredis_version:7.0.15\r\nexecutable:/a:b\r\n") == {
        "redis_version": "7.0.15",
        "executable": "/a:b",
    }


# ---- choosing method and window --------------------------------------------------------------------------------


def test_windows_begin_small_and_double_up_to_the_limit() -> None:
    chooser = Chooser("auto", 500, AMPLE)
    sizes = []
    for _ in range(8):
        sizes.append(chooser.keys)
        chooser.learn(chooser.keys, chooser.keys, chooser.keys * 100)
    assert sizes[0] == FIRST_WINDOW_KEYS
    assert sizes[-1] == 500
    assert all(second <= 2 * first for first, second in zip(sizes, sizes[1:], strict=False))


def test_one_giant_shrinks_the_next_window_at_once() -> None:
    chooser = Chooser("auto", 500, AMPLE, keys=500)
    chooser.learn(500, 500, 64 << 20)
    assert chooser.keys * (64 << 20) // 500 <= 2 * WINDOW_BYTES


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 10**8)), max_size=50), st.integers(1, 500))
def test_a_window_is_never_empty_nor_over_the_limit(seen: list[tuple[int, int]], limit: int) -> None:
    chooser = Chooser("native", limit, AMPLE)
    for keys, size in seen:
        chooser.learn(keys, keys, size)
        assert 1 <= chooser.keys <= limit


def test_auto_follows_what_it_sees_and_the_other_methods_do_not() -> None:
    auto, native, dump = (Chooser(policy, 500, AMPLE) for policy in ("auto", "native", "dump"))
    for chooser in (auto, native, dump):
        for _ in range(20):
            chooser.learn(100, 0, 100 * 200)
    assert [c.method for c in (auto, native, dump)] == [Method.DUMP, Method.MGET, Method.DUMP]
    for chooser in (auto, native, dump):
        for _ in range(20):
            chooser.learn(100, 100, 100 * 10_000)
    assert [c.method for c in (auto, native, dump)] == [Method.GET, Method.GET, Method.DUMP]
