"""How a database is cut into ranges, and the order in which lanes get them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import keyferry
from keyferry.partitioners.ranges import (
    MANY_RANGES,
    MAX_RANGES,
    MIN_RANGE_KEYS,
    MOST_RANGE_KEYS,
    RANGE_KEYS,
    cut,
    in_turn,
    ranges_for,
)
from keyferry.verify_plan import shifted
from keyferry.workers.cursor import RING, cursor_at
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.filling import write_strings
from tests.support.monitor import Monitor

KEYS = st.integers(0, 10**11)
LANES = st.integers(1, 4096)


@given(KEYS, LANES)
def test_ranges_are_a_power_of_two_that_is_enough_for_lanes_and_no_more_than_pays(keys: int, lanes: int) -> None:
    ranges = ranges_for(keys, lanes)
    assert ranges & (ranges - 1) == 0 and 1 <= ranges <= MAX_RANGES
    assert keys // MOST_RANGE_KEYS <= ranges or ranges == MAX_RANGES
    assert keys // RANGE_KEYS <= ranges or ranges >= MANY_RANGES
    assert ranges >= min(2 * lanes, keys // MIN_RANGE_KEYS, MAX_RANGES)
    if ranges > 2 * MANY_RANGES and ranges >= 4 * lanes:  # up to the next power of two, and not beyond
        assert keys / ranges > MOST_RANGE_KEYS / 2


def test_large_databases_have_larger_ranges() -> None:
    assert [ranges_for(keys, 16) for keys in (2_000_000, 5_000_000, 20_000_000, 100_000_000)] == [256, 512, 1024, 4096]


@given(st.integers(0, 12).map(lambda bits: 1 << bits), st.booleans())
def test_ranges_that_begin_with_neighbouring_buckets_are_handed_out_together(ranges: int, moved: bool) -> None:
    cuts = [(start, end, 0) for start, end in cut(0, 1, ranges)]
    cuts = shifted(cuts) if moved else cuts
    turns = in_turn(cuts)
    assert sorted(turns) == cuts and (cuts[0][0], cuts[-1][1]) == (0, RING)
    # With borders moved by half a range, there is one more, and it begins in the bucket of another.
    assert [cursor_at(start) % ranges for start, *_ in turns] == [*[0][:moved], *range(ranges)]


def test_servers_at_rest_whose_tables_still_grow_are_equal_however_many_ranges_are_asked_for(
    server: ServerFactory,
) -> None:
    source, target = server("8.2"), server("8.2")
    for more in range(6):
        for one in (source, target):
            one.call("FLUSHALL")
            one.call("DEBUG", "POPULATE", 33_000 + more, "key", 10)
        summary = keyferry.compare(source.uri, target.uri, ranges=1000, workers=2)
        assert summary.verdict is not None
        assert (summary.exit_code, summary.verdict.line) == (0, f"OK:{33_000 + more} V:0 >:0 <:0 T:0")


def test_lanes_begin_in_neighbouring_buckets(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 10_000)
    with Monitor(source) as monitor:
        at_source, at_target = (f"redis://127.0.0.1:{one.port}" for one in (source, target))
        keyferry.replicate(at_source, at_target, workers=1, ranges=64, no_verify=True)
    control = {one.client for one in monitor.commands if one.name == "DBSIZE"}
    cursors = [int(one.args[1]) for one in monitor.commands if one.name == "SCAN" and one.client not in control]
    assert cursors[:8] == list(range(8))
    assert_equal(source, target)
