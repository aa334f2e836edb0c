"""The language of the fault proxy's maps: what is printed means the same, and a wrong word is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.faults import (
    BYTES,
    CONNECT,
    DELAY,
    DIRECTIONS,
    FAULTS,
    HALF_CLOSE,
    REPLY,
    REQUEST,
    SLOW,
    TRANSLATE,
    BadMap,
    Moment,
    Rule,
    parse,
    text_of,
)

COUNTED = st.integers(1, 10**12)
NAMES = st.lists(st.sampled_from(["SCAN", "MGET", "MSET", "CLIENT"]), min_size=1, max_size=3).map(tuple)
MOMENTS = (
    st.just(Moment())
    | st.builds(Moment, st.just(BYTES), st.integers(0, 10**12))
    | st.builds(Moment, st.sampled_from([REQUEST, REPLY]), COUNTED, NAMES)
)
ADDRESSES = st.tuples(st.sampled_from(["10.0.0.1", "::1", "host-a"]), st.integers(1, 65535)).map("{0[0]}:{0[1]}".format)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    fault = draw(st.sampled_from(FAULTS))
    values = {SLOW: st.integers(1, 10**9), DELAY: st.floats(0, 10**6, allow_subnormal=False)}
    pairs = st.lists(st.tuples(ADDRESSES, ADDRESSES), min_size=1, max_size=3).map(tuple)
    connection = draw(st.integers(0, 10**6))
    return Rule(
        fault,
        draw(values.get(fault, st.just(0))),
        draw(pairs) if fault == TRANSLATE else (),
        draw(st.sampled_from(DIRECTIONS if fault == HALF_CLOSE else ("", *DIRECTIONS))),
        draw(MOMENTS),
        connection,
        draw(st.booleans()) if connection else False,
        draw(st.booleans()),
    )


@given(st.lists(rules(), max_size=4))
def test_a_map_that_is_printed_means_the_same(given: list[Rule]) -> None:
    assert parse(text_of(given)) == given


def test_a_map_reads_as_it_is_meant() -> None:
    assert parse("") == []
    assert parse(" cut ;") == [Rule("cut", moment=Moment(CONNECT))]
    assert parse("stall replies after 100 bytes always") == [
        Rule("stall", direction="replies", moment=Moment(BYTES, 100), always=True)
    ]
    assert parse("reset at request mget/GET 3 connection 2+; delay 1.5ms") == [
        Rule("reset", moment=Moment(REQUEST, 3, ("MGET", "GET")), connection=2, later=True),
        Rule("delay", 1.5),
    ]
    assert parse("cut at reply MSET connection 2")[0].moment == Moment(REPLY, 1, ("MSET",))


@pytest.mark.parametrize(
    ("map", "says"),
    [
        ("smash", "no fault 'smash'"),
        ("slow", "missing"),
        ("slow fast", "'fast' is no number of bytes"),
        ("slow 0", "a stall"),
        ("delay 5", "'5' is no time in ms"),
        ("delay -5ms", "'-5ms' is no time"),
        ("half-close", "needs a direction"),
        ("translate 7000=7001", "host:port=host:port"),
        ("cut after 5", "bytes is missing"),
        ("cut after 5 commands", "after N bytes"),
        ("cut at dawn", "no moment 'dawn'"),
        ("cut at request", "a command is missing"),
        ("cut at request SCAN 0", "counted from 1"),
        ("cut connection two", "'two' is no number"),
        ("cut replies requests", "'requests' has no meaning there"),
    ],
)
def test_a_wrong_map_is_refused_by_its_word(map: str, says: str) -> None:
    with pytest.raises(BadMap, match=says):
        parse(map)
