"""What is told of a running phase, from states as the coordinator makes them."""

from __future__ import annotations

import time

import pytest

from keyferry import figures
from keyferry.figures import Figures, Watch
from keyferry.progress import bar_format
from keyferry.reasons import most_important, split
from keyferry.state import LiveState, State
from keyferry.workers.news import Counts


def state(keys: int, total: int, done: int = 0, *, seconds: float = 10.0, waiting: str = "") -> State:
    """A state of four ranges, so many seconds after the phase began."""
    counts = Counts(copied=keys, bytes=100 * keys)
    return State(total, time.monotonic() - seconds, counts, done, 4, waiting)


def seen(now: State) -> Figures:
    return Watch("copy").figures(now)


def test_no_time_left_is_told_before_one_percent() -> None:
    assert seen(state(99, 10_000)).seconds_left is None
    assert seen(state(100, 10_000)).seconds_left == pytest.approx(990, rel=0.1)


def test_a_hundred_percent_means_that_every_range_is_acknowledged() -> None:
    almost, done = seen(state(1_000, 1_000, 3)), seen(state(1_000, 990, 4))
    assert "100.0 %" not in almost.lines()[0] + bar_format(almost)
    assert "100.0 %" in done.lines()[0] and "100.0 %" in bar_format(done)
    assert "1,000 of 1.0 k keys" in done.lines()[0]


def test_totals_are_estimates_until_all_is_acknowledged_or_they_are_known() -> None:
    now = state(500, 1_200_000)
    assert "of ~1.2 M" in bar_format(seen(now))
    now.total_known = True
    assert "of 1.2 M" in bar_format(seen(now))


def test_a_source_that_grows_is_never_more_than_done() -> None:
    assert seen(state(1_500, 1_000)).share < 1


def test_an_empty_source_is_done_at_once() -> None:
    assert seen(state(0, 0, 4)).share == 1
    assert seen(state(0, 0)).share == 0


def test_rates_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RECENT_S", 0.2)
    monkeypatch.setattr(figures, "SAMPLE_S", 0.0)
    watch, now = Watch("copy"), state(1_000, 10_000)
    assert watch.figures(now).keys_per_second > 0
    time.sleep(0.3)
    watch.note(now)
    stalled = watch.figures(now)
    assert (stalled.keys_per_second, stalled.bytes_per_second, stalled.seconds_left) == (0, 0, None)


def test_a_pass_that_begins_again_shows_no_negative_rate() -> None:
    watch = Watch("copy")
    watch.note(state(1_000, 10_000))
    assert watch.figures(state(0, 10_000)).keys_per_second == 0


# -- reasons ----------------------------------------------------------------------------------------------------------

OOM, GONE, SLOW = "target out of memory", "reconnecting: source 10.0.0.5:6379", "throttled: source 7.2 ms"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ([], ""),
        (["", ""], ""),
        (["", SLOW], SLOW),
        ([SLOW, SLOW, OOM], OOM),
        ([OOM, SLOW, GONE], GONE),
        (["source loading its data set", OOM, OOM], OOM),
    ],
)
def test_of_different_reasons_the_worst_is_shown(told: list[str], shown: str) -> None:
    assert most_important(told) == shown


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("running", "")),
        (OOM, ("waiting", OOM)),
        (SLOW, ("throttled", "source 7.2 ms")),
        (GONE, ("reconnecting", "source 10.0.0.5:6379")),
        ("waiting: " + OOM, ("waiting", OOM)),
    ],
)
def test_a_reason_is_a_state_and_what_it_is_about(text: str, parts: tuple[str, str]) -> None:
    assert split(text) == parts


def test_the_reason_stands_below_the_line_without_control_characters() -> None:
    line, reason = seen(state(500, 1_000, waiting="target \x1b[2J")).lines()
    assert len(line) <= 80 and reason == "  waiting: target \\x1b[2J"


def test_a_phase_of_several_passes_goes_on_counting_seconds_and_has_the_rates_of_its_last_one() -> None:
    """A verification looks at the source's keys, then at the target's, then at what differs."""
    watch = Watch("verify")
    watch.figures(state(50_000, 60_000, seconds=8))
    later = state(0, 60_000, seconds=0)
    time.sleep(0.05)
    later.counts = Counts(copied=1_000, bytes=100_000)
    found = watch.figures(later)
    assert found.seconds > 8
    assert found.keys_per_second > 1_000 and found.bytes_per_second > 100_000
    assert found.seconds_left is not None and found.seconds_left < 60


def test_events_of_an_earlier_phase_are_none_of_this_one() -> None:
    now = state(0, 0, seconds=0.1)
    now.live = LiveState(1_000_000, 0, 0.0, 0, False)
    watch = Watch("live")
    found = watch.figures(now).live
    assert found and (found.events, found.events_per_second) == (1_000_000, 0)
    now.live = LiveState(1_000_500, 0, 0.0, 0, False)
    later = watch.figures(now).live
    assert later and 0 < later.events_per_second < 5_001
