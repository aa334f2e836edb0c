"""Values of options: units, bounds, and what is said of a text that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry import values
from keyferry.values import Kind
from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.filling import write_strings
from tests.support.processes import VERIFIED, run_keyferry


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (values.DURATION, "250ms", 0.25),
        (values.DURATION, "5s", 5.0),
        (values.DURATION, "1.5m", 90.0),
        (values.DURATION, "2h", 7200.0),
        (values.DURATION, "0s", 0.0),
        (values.TIMEOUT, "60", 60.0),
        (values.TIMEOUT, "0.5", 0.5),
        (values.TIMEOUT, "500ms", 0.5),
        (values.SIZES, "10-100", (10, 100)),
        (values.SIZES, "1k-1kb", (1000, 1024)),
        (values.SIZES, "1m-1MB", (10**6, 1 << 20)),
        (values.SIZES, "1g-1gb", (10**9, 1 << 30)),
        (values.SIZES, "7b", (7, 7)),
        (values.COUNTS, "1-50", (1, 50)),
        (values.COUNTS, "3", (3, 3)),
        (values.DURATIONS, "60s-1h", (60.0, 3600.0)),
        (values.SHARE, "25%", 0.25),
        (values.SHARE, "0%", 0.0),
        (values.SHARE, "12.5%", 0.125),
        (values.WEIGHTS, "string=60,hash=10", (("string", 60.0), ("hash", 10.0))),
        (values.DATABASES, "all", "all"),
        (values.DATABASES, "0,3", [0, 3]),
        (values.RENAMES, "0:2,3:1", {0: 2, 3: 1}),
        (values.PORT, "65535", 65535),
        (values.HOST, "::1", "::1"),
    ],
)
def test_a_text_has_its_value(kind: Kind, text: str, value: object) -> None:
    assert kind.parse(text) == value
    assert kind.accept(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (values.DURATION, "5"),
        (values.DURATION, "0"),
        (values.DURATION, "5x"),
        (values.DURATION, "-5s"),
        (values.DURATION, "5 s"),
        (values.DURATION, "٥s"),
        (values.DURATION, "1e3s"),
        (values.DURATION, "1m30s"),
        (values.DURATION, ""),
        (values.TIMEOUT, "0"),
        (values.TIMEOUT, "1.2.3"),
        (values.TIMEOUT, "-1"),
        (values.SIZES, "100-10"),
        (values.SIZES, "10x"),
        (values.SIZES, "-10"),
        (values.SIZES, "10-"),
        (values.COUNTS, "0-5"),
        (values.COUNTS, "a"),
        (values.COUNTS, "9" * 5000),
        (values.DURATIONS, "60-3600"),
        (values.DURATIONS, "0s-1s"),
        (values.SHARE, "25"),
        (values.SHARE, "101%"),
        (values.SHARE, "-1%"),
        (values.WEIGHTS, "strings=1"),
        (values.WEIGHTS, "string"),
        (values.WEIGHTS, ""),
        (values.DATABASES, "0,0"),
        (values.DATABASES, "-1"),
        (values.DATABASES, "0,"),
        (values.DATABASES, ""),
        (values.RENAMES, "0"),
        (values.RENAMES, "0:1,0:2"),
        (values.RENAMES, "0:-1"),
        (values.RENAMES, ""),
        (values.PORT, "0"),
        (values.PORT, "65536"),
        (values.PORT, "1_000"),
        (values.HOST, ""),
        (values.HOST, "a b"),
        (values.HOST, "a\nb"),
        (values.HOST, "redis://h"),
        (values.PASSWORD, ""),
        (values.SLOTS, "8000-"),
        (values.SLOTS, "-5"),
        (values.SLOTS, "9-8"),
        (values.SLOTS, "0-16384"),
        (values.SLOTS, "\u00b2"),
        (values.SLOTS, ""),
        (values.REMAP, "a:1"),
        (values.REMAP, "a:1=b:\u00b2"),
        (values.REMAP, "a:1=b:70000"),
        (values.SAMPLE, "0"),
        (values.SAMPLE, "0%"),
        (values.SAMPLE, "101%"),
        *((kind, "999999999999999h") for kind in (values.DURATION, values.TIMEOUT, values.ABOVE_0, values.IDLE)),
        (values.DURATIONS, "1h-999999999999999h"),
        (values.SIZE, "999999999999999gb"),
    ],
)
def test_a_text_that_is_wrong_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):
        kind.parse(text)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (values.whole(0, 2**63 - 1), "9223372036854775807", "has more than 15 digits"),
        (values.whole(0), "999999999999999", "must be at most 1000000000000"),
        (values.COUNT, "1000000000001", "must be at most 1000000000000"),
        (values.COUNT, "0", "must be a whole number of at least 1"),
        (values.COUNTS, "1-1000000000000000", "has more than 15 digits"),
        (values.SAMPLE, "1000000000000000", "has more than 15 digits"),
        (values.PORT, "65536", "must be a whole number from 1 to 65535"),
    ],
)
def test_what_is_said_of_a_large_number_is_true_of_it(kind: Kind, text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        kind.parse(text)
    assert caught.value.args == (says,)


@pytest.mark.parametrize(
    ("kind", "text", "readings"),
    [
        (values.DURATION, "500", ("500s is seconds", "500ms is milliseconds")),
        (values.DURATIONS, "60-1h", ("60s", "60ms")),
        (values.SHARE, "25", ("25% is 25 of 100 keys",)),
    ],
)
def test_a_number_without_its_unit_is_refused_with_the_readings(kind: Kind, text: str, readings: list[str]) -> None:
    with pytest.raises(ValueError, match="unit is missing") as caught:
        kind.parse(text)
    assert all(reading in caught.value.args[1] for reading in readings)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.DURATION, 5),
        (values.DURATION, 0.5),
        (values.COUNT, 1),
        (values.SIZES, (0, 5)),
        (values.DATABASES, [0, 1]),
        (values.RENAMES, {0: 1}),
        (values.SLOTS, [(0, 16383), (5, 5)]),
    ],
)
def test_python_may_give_the_value_itself(kind: Kind, value: object) -> None:
    assert kind.accept(value) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.DURATION, -1),
        (values.DURATION, True),
        (values.DURATION, float("nan")),
        (values.DURATION, None),
        (values.COUNT, 1.0),
        (values.COUNT, False),
        (values.PORT, 70000),
        (values.SIZES, (5,)),
        (values.SIZES, (5, 1)),
        (values.DATABASES, [0, -1]),
        (values.DATABASES, [1, 1]),
        (values.DATABASES, []),
        (values.RENAMES, {0: "1"}),
        (values.RENAMES, {}),
        (values.SLOTS, [(9, 1)]),
        (values.SLOTS, [(0, 16384)]),
        (values.SLOTS, [(-1, 5)]),
        (values.SLOTS, [5]),
        (values.SLOTS, []),
        (values.TEXT, b"x"),
        (values.choice("a"), 1),
    ],
)
def test_a_python_value_passes_the_same_checks(kind: Kind, value: object) -> None:
    with pytest.raises(ValueError):
        kind.accept(value)


@given(st.integers(0, 277_777), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: tuple[str, int]) -> None:
    assert values.DURATION.parse(f"{number}{unit[0]}") == pytest.approx(number * unit[1] / 1000)


@given(st.integers(0, 10**9), st.sampled_from(["", "b", "k", "kb", "m", "mb", "g", "gb", "K", "Kb"]))
def test_a_size_is_decimal_without_b_and_binary_with_it(number: int, unit: str) -> None:
    power = "bkmg".index(unit[0].lower()) if unit else 0
    expected = number * (1024 if len(unit) == 2 else 1000) ** power
    assert values.SIZES.parse(f"{number}{unit}") == (expected, expected)


@given(
    st.sampled_from([kind for kind in vars(values).values() if isinstance(kind, Kind)]),
    st.text(max_size=12) | st.text("0123456789.-:,%=smhkb", max_size=12),
)
def test_no_text_brings_anything_but_a_value_or_a_value_error(kind: Kind, text: str) -> None:
    try:
        kind.parse(text)
    except ValueError as error:
        assert all(isinstance(part, str) for part in error.args)


def test_the_longest_times_and_the_largest_size_do_no_harm(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 20)
    longest = f"{10**9}s"
    words = [
        "-o",
        longest,
        "--wait-for",
        longest,
        "--retry-for",
        longest,
        "--ttl-tolerance",
        longest,
        "--min-ttl",
        "0s",
    ]
    words += ["--max-source-latency", longest, "--max-size", "999999999gb", "--live", "--idle-timeout", "500"]
    ran = run_keyferry("-o", longest, *at(source), "replicate", *at(target), *words, env=VERIFIED)
    assert ran.code == 0, ran.err
    ran = run_keyferry("-o", longest, *at(source), "compare", *at(target), "-o", longest, "--ttl-tolerance", longest)
    assert ran.code == 0, ran.err
    for option in ("--min-ttl", "--max-ttl"):
        ran = run_keyferry(*at(source), "replicate", *at(target), option, longest, "--dry-run")
        assert ran.code == 0, ran.err
