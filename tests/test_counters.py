"""What a feed does not tell: calls of silent commands, saves, stillness, and a feed that is mute."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import pytest

from keyferry.workers.counters import COUNTED_S, MUTE_CHANGES, Calls, Mute, Saves, Stillness, Watched

INFO = b"""# Commandstats
cmdstat_set:calls=9,usec=1
cmdstat_flushdb:calls=1,usec=1
cmdstat_flushall:calls=2,usec=1
cmdstat_swapdb:calls=3,usec=1
cmdstat_xack:calls=4,usec=1
cmdstat_xgroup|create:calls=5,usec=1
cmdstat_xadd:calls=6,usec=1
cmdstat_config|set:calls=7,usec=1
""".replace(b"\n", b"\r\n")


def test_the_calls_that_no_feed_tells_are_counted() -> None:
    assert Calls.told(INFO) == Calls(True, flushes=3, swaps=3, silent=9, configured=7)
    assert Calls.told(INFO.replace(b"xgroup|create", b"xgroup")).silent == 9
    assert not Calls.told(RuntimeError("NOPERM")).known
    assert not Calls.told(b"").known


@pytest.mark.parametrize(
    ("now", "notifications", "says"),
    [
        (Calls(True, 3, 3, 9, 7), True, []),
        (Calls(True, 4, 3, 9, 7), True, ["the source was flushed"]),
        (Calls(True, 3, 4, 9, 7), False, ["SWAPDB at the source"]),
        (Calls(True, 3, 3, 99, 7), True, []),
        (Calls(True, 3, 3, 9, 8), True, ["the source's settings were changed"]),
        (Calls(True, 3, 3, 9, 8), False, []),
        (Calls(True, 0, 0, 0, 0), False, ["the source's counters were reset"]),
        (Calls(True, 3, 3, 8, 7), False, ["the source's counters were reset"]),
        (Calls(), False, ["the source's counters were reset"]),
    ],
)
def test_counters_tell_of_what_events_do_not(now: Calls, notifications: bool, says: list[str]) -> None:
    watched = Watched(Calls.told(INFO))
    assert watched.gaps(now, notifications, 1.0) == says


def test_a_flush_that_an_event_has_told_of_is_not_told_twice() -> None:
    """It may be counted some looks later: 8.2 ends a FLUSHALL when the memory is free."""
    for looks in (0, 3):
        watched = Watched(Calls(True, 3, 3, 9, 7))
        watched.flushed(1.0)
        for _ in range(looks):
            assert watched.gaps(Calls(True, 3, 3, 9, 7), True, 2.0) == []
        assert watched.gaps(Calls(True, 4, 3, 9, 7), True, 3.0) == []
        assert watched.gaps(Calls(True, 5, 3, 9, 7), True, 4.0) == FLUSHED


FLUSHED = ["the source was flushed"]


def test_a_flush_event_stands_for_no_later_flush() -> None:
    """One may come behind the answer that has counted its flush, or tell of another data set, which nothing counts."""
    for count in (4, 3):
        watched = Watched(Calls(True, 3, 3, 9, 7))
        assert watched.gaps(Calls(True, count, 3, 9, 7), True, 1.0) == FLUSHED * (count - 3)
        watched.flushed(1.0)
        assert watched.gaps(Calls(True, count, 3, 9, 7), True, 2.0) == []
        assert watched.gaps(Calls(True, count + 1, 3, 9, 7), True, 2.0 + COUNTED_S) == FLUSHED


def test_a_flush_event_behind_its_count_hides_no_flush_of_the_same_moment() -> None:
    watched = Watched(Calls(True, 3, 3, 9, 7))
    assert watched.gaps(Calls(True, 4, 3, 9, 7), True, 1.0) == FLUSHED
    watched.flushed(1.0)
    assert watched.gaps(Calls(True, 5, 3, 9, 7), True, 1.1) == FLUSHED


def test_a_source_is_still_since_the_first_of_equal_looks_was_told_and_a_save_makes_that_unknown() -> None:
    stillness = Stillness()
    for asked_at, saves, since in (
        (1.0, Saves(5, "a", False), 0.0),
        (1.9, Saves(5, "a", False), 0.0),  # in the second of the save, as far as we know
        (2.1, Saves(5, "a", False), 2.1),
        (2.9, Saves(5, "a", False), 2.1),
        (3.0, Saves(6, "a", False), 3.0),
        (4.0, Saves(6, "a", True), 0.0),
        (5.0, Saves(0, "b", False), 0.0),
        (5.5, Saves(0, "b", False), 0.0),
        (6.5, Saves(0, "c", False), 0.0),
        (7.0, None, 0.0),
        (8.0, Saves(0, "c", False), 0.0),
        (9.1, Saves(0, "c", False), 9.1),
    ):
        stillness.look(saves, asked_at, told_at=asked_at + 0.05)
        assert stillness.since == pytest.approx(since and since + 0.05), asked_at


def is_mute(*looks: tuple[int, int, int], every_s: float = 0.4, came: Sequence[int] = ()) -> bool:
    """Whether looks one after the other find that: changes of the source, events, and changes that make none.

    `came` are events that came with the answers of the first ones.
    """
    mute, at, found = Mute(), 1.0, False
    for (changes, events, silent), new in zip_longest(looks, came, fillvalue=0):
        found = mute.look(Saves(changes, "", False), events, silent, new, at, told_at=at + 0.01)
        at += every_s
    return found


def test_writes_without_an_event_make_a_feed_mute_unless_they_are_silent() -> None:
    suspect = (MUTE_CHANGES, 0, 0)
    assert is_mute((0, 0, 0), (900, 0, 0), suspect, suspect)
    assert not is_mute((0, 0, 0), (900, 0, 0), suspect)
    assert not is_mute((0, 0, 0), *((changes, 0, changes) for changes in (2000, 4000, 6000)))
    one_xack_of_many = ((2000 * number, 0, number) for number in range(5))
    assert not is_mute(*one_xack_of_many)
    assert not is_mute(*((2000 * number, number, 0) for number in range(5)))


def test_a_feed_is_not_mute_for_what_a_server_tells_in_one_breath() -> None:
    """It answers all looks that it finds, and sends the events of what it did before them after the answers."""
    suspect = (MUTE_CHANGES, 0, 0)
    assert not is_mute((0, 0, 0), suspect, suspect, suspect, every_s=0.0)
    assert not is_mute((0, 0, 0), suspect, suspect, every_s=0.05)
    assert is_mute((0, 0, 0), suspect, suspect, suspect, suspect, every_s=0.05)


def test_events_that_came_with_an_answer_may_be_of_what_was_written_behind_it() -> None:
    """So they prove nothing of the changes that come after the answer's count: a burst that is over is not mute."""
    burst, over, suspect = (900, 5_000, 0), (5_000, 5_000, 0), (5_000 + MUTE_CHANGES, 5_000, 0)
    assert not is_mute((0, 0, 0), burst, over, over, over, came=(0, 5_000))
    assert is_mute((0, 0, 0), burst, over, over, suspect, suspect, came=(0, 5_000))
