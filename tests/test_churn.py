"""The changes that a churn makes: which ones are drawn, and that a server bears them all, in any order, without end."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import hiredis
import pytest

from keyferry.workers import synth
from keyferry.workers.churn import (
    DEFAULT_OPERATIONS,
    OPERATIONS,
    RUN_CHANGES,
    Churn,
    operations_for,
    outcome,
    parse_operations,
    run_of_changes,
)
from keyferry.workers.churn_lane import CATCH_UP_S, DEBT_S, LATE_S, TICK_S, Schedule
from keyferry.workers.churn_operations import Change
from keyferry.workers.synth import Spec
from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.compare import all_keys
from tests.support.servers import Server

ALL = tuple((name, 1.0) for name in OPERATIONS if name != "flushdb")
EVERY_TYPE = tuple((name, 1.0) for name in synth.TYPES)
LENGTH = {b"hash": "HLEN", b"list": "LLEN", b"set": "SCARD", b"zset": "ZCARD", b"stream": "XLEN", b"string": "STRLEN"}


def changes_of(churn: Churn, runs: int) -> list[Change]:
    return [change for number in range(runs) for change in run_of_changes(churn, f"0:{number}")]


def words_of(changes: list[Change]) -> list[list[bytes]]:
    """The commands as words."""
    return words_in(b"".join(change.command for change in changes))


def words_in(request: bytes) -> list[list[bytes]]:
    """The commands of a request as words."""
    reader = hiredis.Reader()
    reader.feed(request)
    return list(iter(reader.gets, False))


def churned(server: Server, churn: Churn, runs: int) -> tuple[int, list[Exception]]:
    """Send the changes; how many had nothing to change, and the errors that nobody expects."""
    changes = changes_of(churn, runs)
    with server.connect() as connection:
        return outcome(changes, connection.pipeline(words_of(changes)))


def generated(server: Server, spec: Spec) -> None:
    with server.connect() as connection:
        connection.pipeline(commands_of(spec))


def commands_of(spec: Spec) -> list[list[bytes]]:
    """What writes the data set."""
    blocks = [synth.block(spec, number) for number in range(synth.block_count(spec))]
    return words_in(b"".join(block.requests for block in blocks))


def types_of(server: Server) -> dict[bytes, bytes]:
    keys = sorted(all_keys(server))
    with server.connect() as connection:
        return dict(zip(keys, connection.pipeline(("TYPE", key) for key in keys), strict=True))


# ---- what is drawn ----------------------------------------------------------------------------------------------


def test_a_run_depends_on_its_name_and_the_churn_alone() -> None:
    churn, other = Churn(Spec(5000), DEFAULT_OPERATIONS, 10), Churn(Spec(5000, seed=1), DEFAULT_OPERATIONS, 10)
    assert run_of_changes(churn, "0:1") == run_of_changes(churn, "0:1")
    assert run_of_changes(churn, "0:1") != run_of_changes(churn, "0:2")
    assert run_of_changes(churn, "0:1") != run_of_changes(other, "0:1")


def test_operations_come_by_their_weights() -> None:
    names = Counter(
        words[0] for words in words_of(changes_of(Churn(Spec(5000), parse_operations("del=3,set"), 10), 80))
    )
    assert names.total() == 80 * RUN_CHANGES
    assert 2.7 < names[b"DEL"] / names[b"SET"] < 3.3


def test_some_keys_are_hot_and_all_are_changed_at_times() -> None:
    hits = Counter(words[1] for words in words_of(changes_of(Churn(Spec(2048), parse_operations("del"), 10), 1000)))
    assert len(hits) > 2000
    hottest = [count for _, count in hits.most_common(20)]
    assert sum(hottest) > 0.1 * hits.total()


def test_a_rename_takes_another_key_of_the_same_type() -> None:
    spec = Spec(300)
    kinds = {name: kind for kind, places in synth.layout(spec, 0).places.items() for name in places}
    for _, source, target in words_of(changes_of(Churn(spec, parse_operations("rename"), 10), 50)):
        assert source != target
        assert kinds[int(source[4:])] == kinds[int(target[4:])]


@pytest.mark.parametrize("binary", [False, True])
def test_keys_have_the_names_and_types_of_the_data_set(binary: bool) -> None:
    spec = Spec(1500, binary=binary, shares=(("hash", 1), ("set", 1)))
    written = {words[1]: words[0] for words in commands_of(spec) if words[0] != b"UNLINK"}
    assert len(written) == 1500
    for name, key, *_ in words_of(changes_of(Churn(spec, parse_operations("grow"), 10), 20)):
        assert written[key] == {b"SREM": b"SADD"}.get(name, name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sett", "'sett' is no operation; the operations are set, setex, incr, grow"),
        ("set=x", "'set=x': the weight must be"),
        ("set=", "'set=': the weight must be"),
        ("set,set", "set is given twice"),
        ("set=0", "leaves no operation"),
    ],
)
def test_a_wrong_part_of_the_operations_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_operations(text)


def test_operations_without_a_type_are_left_out() -> None:
    assert dict(operations_for((("hash", 1.0),), ALL)).keys() == OPERATIONS.keys() - {
        "set",
        "setex",
        "incr",
        "xadd",
        "group",
        "flushdb",
    }
    assert dict(operations_for((("counter", 1.0),), ALL)).keys() == OPERATIONS.keys() - {
        "grow",
        "hset",
        "xadd",
        "group",
        "flushdb",
    }


# ---- on servers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", [False, True], ids=["generated", "empty"])
def test_no_change_is_refused_and_no_key_changes_its_type(kind: str, empty: bool, server: ServerFactory) -> None:
    target = server(kind)
    spec = Spec(600, shares=EVERY_TYPE, ttl_share=0.2, epoch_ms=1_900_000_000_000)
    generated(target, spec)
    types = types_of(target)
    assert len(types) == 600
    if empty:
        target.call("FLUSHALL")
    idle, refused = churned(target, Churn(spec, ALL, 10), 150)
    assert refused == []
    assert 0 < idle < 150 * RUN_CHANGES / 2
    after = types_of(target)
    assert after.items() <= types.items()
    assert len(after) > 300


@pytest.mark.parametrize(
    "spec",
    [
        Spec(1, shares=EVERY_TYPE),
        Spec(40, shares=EVERY_TYPE, size_min=0, size_max=0, elements_max=1),
        Spec(300, shares=EVERY_TYPE, binary=True),
        Spec(30, shares=EVERY_TYPE, size_min=90_000, size_max=100_000, elements_max=3),
        Spec(5, size_min=2 << 20, size_max=2 << 20, elements_max=2),
        Spec(300, shares=EVERY_TYPE, ttl_min_ms=1, ttl_max_ms=1),
    ],
    ids=["one key", "empty values", "binary", "large values", "a block a key", "short expiries"],
)
def test_no_change_is_refused_whatever_the_data(spec: Spec, server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, spec)
    types = types_of(target)
    _, refused = churned(target, Churn(spec, ALL, 10), 200)
    assert refused == []
    assert types_of(target).items() <= types.items()


def test_collections_stay_bounded_however_long_they_grow(server: ServerFactory) -> None:
    target = server("8.2")
    spec = Spec(16, shares=EVERY_TYPE, elements_max=50, size_max=100)
    churn = Churn(spec, parse_operations("grow"), 10)
    churned(target, churn, 400)
    before = lengths(target)
    churned(target, churn, 800)
    after = lengths(target)
    assert after.keys() == before.keys()
    assert max(size for kind, size in after.values() if kind != b"string") < 2 * spec.elements_max + 200
    assert max(size for kind, size in after.values() if kind == b"string") < 13_000  # a hyperloglog has 12 kB at most


def lengths(server: Server) -> dict[bytes, tuple[bytes, int]]:
    return {key: (kind, server.call(LENGTH[kind], key)) for key, kind in types_of(server).items()}


def test_what_has_nothing_to_change_is_counted(server: ServerFactory) -> None:
    target = server("7.0")
    changes: list[Change] = [
        Change(b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n", tells=True),
        Change(b"*3\r\n$6\r\nRENAME\r\n$1\r\na\r\n$1\r\nb\r\n", tells=False),
        Change(b"*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$1\r\nv\r\n", tells=False),
        Change(
            b"*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$1\r\nw\r\n", tells=False
        ),  # replies 0, and has changed the field
        Change(b"*3\r\n$5\r\nRPUSH\r\n$1\r\nh\r\n$1\r\nv\r\n", tells=False),
    ]
    with target.connect() as connection:
        idle, refused = outcome(changes, connection.pipeline(words_of(changes)))
    assert idle == 2
    assert [str(error)[:9] for error in refused] == ["WRONGTYPE"]


def test_a_transaction_is_one_change_whose_commands_are_looked_at(server: ServerFactory) -> None:
    target = server("7.0")
    multi, execute = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
    push = b"*3\r\n$5\r\nRPUSH\r\n$1\r\n%b\r\n$1\r\nv\r\n"
    changes = [Change(multi + push % key + execute, replies=3) for key in (b"l", b"s")]
    with target.connect() as connection:
        connection.call("SET", "s", "a string")
        idle, refused = outcome(changes, connection.pipeline(words_of(changes)))
    assert idle == 0
    assert [str(error)[:9] for error in refused] == ["WRONGTYPE"]


@pytest.mark.parametrize("kind", KINDS)
def test_groups_come_and_go_and_are_read_by_commands_that_no_feed_tells(kind: str, server: ServerFactory) -> None:
    target = server(kind)
    spec = Spec(200, shares=(("stream", 1.0),))
    generated(target, spec)
    target.call("CONFIG", "RESETSTAT")
    _, refused = churned(target, Churn(spec, parse_operations("group=3,xadd"), 10), 20)
    assert refused == []
    done = target.info("commandstats")
    group = "cmdstat_xgroup" if kind == "6.2" else "cmdstat_xgroup|create"
    assert {group, "cmdstat_xreadgroup", "cmdstat_xautoclaim", "cmdstat_xadd"} <= done.keys()


def test_a_database_is_emptied_only_where_that_is_asked_for(server: ServerFactory) -> None:
    target = server("7.0")
    spec = Spec(100)
    generated(target, spec)
    churned(target, Churn(spec, DEFAULT_OPERATIONS, 10), 20)
    assert target.call("DBSIZE") > 30
    churned(target, Churn(spec, parse_operations("flushdb"), 10), 1)
    assert target.call("DBSIZE") == 0


# ---- schedule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.5, 3, 150, 40_000])
def test_the_schedule_is_even_and_met(rate: float) -> None:
    schedule = Schedule(rate, 0.0)
    ticks = [schedule.due(number * TICK_S) for number in range(1, 2001)]
    assert abs(sum(ticks) - 2000 * TICK_S * rate) <= 1
    assert max(ticks) - min(ticks) <= 2


def test_a_tick_that_is_late_is_made_up_for_little_by_little() -> None:
    schedule = Schedule(10_000, 0.0)
    schedule.due(1.0)
    now = 60.0  # a server that stood still for a minute
    burst = schedule.due(now)
    assert burst <= (LATE_S + CATCH_UP_S) * 10_000 + 1
    later = [schedule.due(now + number * TICK_S) for number in range(1, 501)]
    assert max(later) <= (TICK_S + CATCH_UP_S) * 10_000 + 1
    assert burst + sum(later) <= (DEBT_S + 5) * 10_000 + 1
    assert all(first >= second - 2 for first, second in pairwise(later))


def test_changes_that_were_none_are_made_up_for() -> None:
    schedule = Schedule(1000, 0.0)
    real = 0
    for number in range(1, 1001):
        due = schedule.due(number * TICK_S)
        schedule.give_back(due // 4)
        real += due - due // 4
    assert abs(real - 10_000) < 100
