"""The part in C: it writes the same bytes as the part in Python, or it leaves all to that."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyferry.workers.batch import batch_of
from keyferry.workers.expiry import LATEST, Clock
from keyferry.workers.read import MOMENT_MS, Apart, Method, expiries_of, values_of
from keyferry.workers.replies import listed
from keyferry.workers.resp import argument
from keyferry.workers.router import Router
from keyferry.workers.slots import SLOTS, Owners, in_slot_order, runs_of, slots_of
from keyferry.workers.unparsed import ONE_NODE, Asked, Spliced, Takers, alike, skip, splice
from keyferry.workers.write import payloads_request, strings_request
from tests.support.compiled import compiled
from tests.support.replies import INTEGERS, NOW_MS, time_reply, wire

pytestmark = compiled

#: A value that is no string, and what GET says of it.
WRONG, WRONG_TYPE = b"(a list)", "WRONGTYPE Operation against a key holding the wrong kind of value"
CLOCKS = [None, Clock(True), Clock(True, 1_500), Clock(False), Clock(False, -700), Clock(True, wanted=False)]


@dataclass(frozen=True)
class Window:
    """Keys with the value that the source has of each, and what it says of when they end.

    A value that is no string is WRONG; where it is asked for by GET, that is what the source says.
    """

    keys: tuple[bytes, ...]
    values: tuple[bytes | None, ...]
    expiries: tuple[int, ...]
    asked: Asked
    clock: Clock | None
    took_ms: int
    takers: Takers = ONE_NODE

    @property
    def encoded(self) -> list[bytes]:
        return list(map(argument, self.keys))

    @property
    def said(self) -> list[object]:
        """The replies that have the values."""
        values = [WRONG_TYPE if value == WRONG else value for value in self.values]
        if self.asked is Asked.MGETS:
            assert self.takers.slots is not None
            return [tuple(values[begin:end]) for begin, end in runs_of(self.takers.slots)]
        return [tuple(values)] if self.asked is Asked.MGET else list(values)

    @property
    def unparsed(self) -> bytearray:
        """The replies to what was asked for, and to what `expiries_request` asks."""
        replies = self.said
        if self.clock and self.clock.wanted:
            replies += [time_reply(NOW_MS), *self.expiries]
            replies += [] if self.clock.absolute else [time_reply(NOW_MS + self.took_ms)]
        return bytearray(b"".join(map(wire, replies)))

    def spliced(self) -> Spliced | None:
        """What the part in C makes of it."""
        return splice(self.unparsed, self.encoded, self.asked, self.clock, self.takers)


#: Names that lie in few slots, with others; and how the slots of a cluster may be divided.
NAMES = st.binary(max_size=20) | st.just(b"k" * 300) | st.sampled_from(b"abc").map(lambda tag: b"{%c}" % tag)
TAGGED = st.builds(bytes.__add__, st.sampled_from([b"{a}", b"{b}", b"{c}"]), st.binary(max_size=3))
AHEAD_MS = st.sampled_from([0, 0, 1, -250, 3_600_000])


@st.composite
def windows(draw: st.DrawFn, asked: Sequence[Asked] = tuple(Asked)) -> Window:
    keys = draw(st.lists(NAMES | TAGGED, max_size=12, unique=True))
    how, clock = draw(st.sampled_from(asked)), draw(st.sampled_from(CLOCKS))
    keys, takers = draw(divided(keys, by_slot=how is Asked.MGETS))
    value = st.binary(max_size=30) | st.just(b"\0" * 5_000) | st.just(b"\r\n$-1\r\n") | st.none()
    if how is Asked.GET:
        value |= st.just(WRONG)
    count = {"min_size": len(keys), "max_size": len(keys)}
    near = NOW_MS if clock and clock.absolute else 0
    told = st.sampled_from([-1, -1, -2, 0, 1, near, near + 1, LATEST]) | st.integers(near, near + 10**10) | INTEGERS
    values, expiries = draw(st.lists(value, **count)), draw(st.lists(told, **count))
    return Window(tuple(keys), tuple(values), tuple(expiries), how, clock, draw(st.integers(0, MOMENT_MS)), takers)


@st.composite
def divided(draw: st.DrawFn, keys: list[bytes], by_slot: bool) -> tuple[list[bytes], Takers]:
    """The keys, in the order of their slots where several may go together; and the nodes that may take them."""
    to_cluster, may_share = draw(st.booleans()), draw(st.booleans())
    ahead_ms = tuple(draw(st.lists(AHEAD_MS, min_size=1, max_size=3 if to_cluster else 1)))
    if by_slot or (to_cluster and may_share):
        keys, _ = in_slot_order(keys)
    owners = [slot % len(ahead_ms) for slot in range(SLOTS)] if to_cluster else None
    return keys, Takers(ahead_ms, may_share, slots_of(keys) if by_slot or to_cluster else None, owners)


@dataclass(frozen=True)
class Said:
    """Of a window by Python: (place of the node, request, commands) for each, how many keys and bytes, what is odd."""

    requests: list[tuple[int, bytes, int]]
    copied: int
    size: int
    odd: list[int]


def by_python(window: Window) -> Said:
    """As `Window` of the product does it."""
    method = {Asked.GET: Method.GET, Asked.DUMP: Method.DUMP}.get(window.asked, Method.MGET)
    replies, count, takers = listed(window.unparsed), len(window.said), window.takers
    values = values_of(method, replies[:count])
    clock = window.clock or Clock(True, wanted=False)
    there = [isinstance(value, bytes) for value in values]
    expiries = expiries_of(replies[count:], clock, len(window.keys)).only(there)
    slots = list(compress(takers.slots, there)) if takers.owners and takers.slots is not None else None
    batch = batch_of(
        list(compress(window.encoded, there)), list(compress(values, there)), expiries, slots, takers.may_share
    )
    sinks: list[Any] = [
        SimpleNamespace(node=place, later_ms=ahead_ms) for place, ahead_ms in enumerate(takers.ahead_ms)
    ]
    router = Router(sinks, Owners(takers.owners) if takers.owners else None)
    build = payloads_request if window.asked is Asked.DUMP else strings_request
    parts = router.split(batch) if takers.owners else router.whole(0, batch)
    requests = sorted((sink.node, *build(part, False)) for sink, part in parts)
    sign = Exception if method is Method.GET else type(None)
    odd = [place for place, value in enumerate(values) if isinstance(value, sign)]
    return Said(requests, len(batch), sum(map(len, batch.all_values())), odd)


@given(windows())
def test_it_writes_what_python_writes(window: Window) -> None:
    found = window.spliced()
    assert found is not None
    assert Said(found.requests, found.copied, found.size, found.odd) == by_python(window)
    kept = [value for value, told in zip(window.values, _instants(window)) if value not in (None, WRONG) and told]
    assert found.largest == max(map(len, kept), default=0)
    assert found.strings == sum(window.asked is not Asked.DUMP or value[:1] == b"\0" for value in kept)
    assert found.past == len(window.unparsed)


def _instants(window: Window) -> Sequence[bool]:
    """Whether each key is still there."""
    if not (window.clock and window.clock.wanted):
        return [True] * len(window.keys)
    floor = NOW_MS if window.clock.absolute else 0
    return [told == -1 or told > floor for told in window.expiries]


@given(windows(), st.data())
def test_what_is_cut_short_is_left_to_python(window: Window, data: st.DataObject) -> None:
    """Every beginning of the replies that is not all of them."""
    whole = window.unparsed
    cut = data.draw(st.integers(0, len(whole) - 1)) if whole else assume(False)
    found = splice(whole[:cut], window.encoded, window.asked, window.clock, window.takers)
    assert found is None


WORDS = [
    b"-MOVED 1 a:1\r\n",
    b"+OK\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"$x\r\n",
    b"$9999999999999999999\r\n",
    b":\r\n",
    b"_\r\n",
    b"$9223372036854775807\r\n",
]


@given(windows(), st.sampled_from(WORDS), st.data())
def test_any_other_reply_among_them_is_left_to_python(window: Window, word: bytes, data: st.DataObject) -> None:
    """An error, an array, a number that is none, or too few, in the place of any one."""
    assume(window.keys)
    said = window.said
    replies = [piece for reply in said for piece in _pieces(reply)]
    values = [at for at, piece in enumerate(replies) if not piece.startswith(b"*")]
    replies[data.draw(st.sampled_from(values))] = word
    changed = bytearray(b"".join(replies)) + window.unparsed[_values_end(window) :]
    assert splice(changed, window.encoded, window.asked, window.clock, window.takers) is None


def _pieces(reply: object) -> list[bytes]:
    """A reply's own head, if it is an array, and what it holds."""
    return [b"*%d\r\n" % len(reply), *map(wire, reply)] if isinstance(reply, tuple) else [wire(reply)]


def _values_end(window: Window) -> int:
    return sum(map(len, map(wire, window.said)))


@given(windows([Asked.MGETS]), st.data())
def test_arrays_of_other_lengths_are_left_to_python(window: Window, data: st.DataObject) -> None:
    """As many values, but not by slot as they were asked for."""
    said = [list(one) for one in window.said if isinstance(one, tuple)]
    assume(len(said) > 1)
    place = data.draw(st.integers(1, len(said) - 1))
    said[place - 1].append(said[place].pop(0))
    replies = b"".join(wire(tuple(one)) for one in said)
    changed = bytearray(replies) + window.unparsed[_values_end(window) :]
    assert splice(changed, window.encoded, window.asked, window.clock, window.takers) is None


@given(windows([Asked.GET]), st.data())
def test_a_slot_without_an_owner_is_left_to_python(window: Window, data: st.DataObject) -> None:
    """Or with one that is not among those that are told."""
    assume(window.keys and window.takers.owners)
    slots, owners = window.takers.slots, list(window.takers.owners or ())
    assert slots is not None
    owners[data.draw(st.sampled_from(slots))] = data.draw(st.sampled_from([-1, 3, 1 << 20]))
    assert (
        splice(window.unparsed, window.encoded, window.asked, window.clock, window.takers._replace(owners=owners))
        is None
    )


@given(windows(), st.sampled_from(WORDS), st.data())
def test_any_other_reply_among_the_expiries_is_left_to_python(window: Window, word: bytes, data: st.DataObject) -> None:
    """TIME or an expiry that was refused, say, or a server that is busy."""
    assume(window.clock and window.clock.wanted)
    end = _values_end(window)
    lines = [wire(time_reply(NOW_MS)), *map(wire, window.expiries)]
    lines += [] if window.clock and window.clock.absolute else [wire(time_reply(NOW_MS))]
    lines[data.draw(st.integers(0, len(lines) - 1))] = word
    changed = window.unparsed[:end] + b"".join(lines)
    assert splice(changed, window.encoded, window.asked, window.clock, window.takers) is None


@given(windows([Asked.MGET]))
def test_another_number_of_keys_is_left_to_python(window: Window) -> None:
    encoded = [*window.encoded, argument(b"one more")]
    assert splice(window.unparsed, encoded, Asked.MGET, window.clock) is None


def test_times_that_are_too_far_apart_are_left_to_python() -> None:
    """There the expiries have to be asked for again: `Apart`."""
    window = Window((b"key",), (b"value",), (5_000,), Asked.MGET, Clock(False), MOMENT_MS + 1)
    assert window.spliced() is None
    with pytest.raises(Apart):
        by_python(window)


def test_what_follows_the_values_is_told_where_no_expiries_were_asked_for() -> None:
    """So INFO can be looked at, which says that no key expires."""
    window, info = Window((b"a", b"b"), (b"1", b"2"), (), Asked.MGET, None, 0), b"$4\r\nINFO\r\n"
    replies = window.unparsed + info
    found = splice(replies, window.encoded, Asked.MGET, None)
    assert found is not None
    assert replies[found.past :] == info


def test_random_bytes_do_no_harm() -> None:
    """Neither what begins like replies, nor places that do not exist."""
    chance = random.Random(7)
    keys, slots = [argument(b"{a}1"), argument(b"{a}2")], slots_of([b"{a}1", b"{a}2"])
    takers = [Takers((0,), True, slots), Takers((0, 7), True, slots, [0, 1] * (SLOTS // 2))]
    for _ in range(20_000):
        pieces = chance.choices([b"*2\r\n", b"$1\r\nx\r\n", b"$", b"\r\n", b":", b"-1", b"99", b"\0", *WORDS], k=9)
        data = bytearray(b"".join(pieces))
        splice(data, keys, chance.choice(list(Asked)), chance.choice(CLOCKS), chance.choice(takers))
        alike(data, data[: chance.randint(0, len(data))], 2, chance.randint(-1, 3), chance.random() < 0.5)
        try:
            begin, due = skip(data, chance.randint(-5, 99), chance.randint(-1, 9))
        except ValueError:
            continue
        assert 0 <= begin <= len(data)
        assert due >= -1


@pytest.mark.parametrize("keys", [["text"], [b""], [b"x"], [None]])
def test_keys_that_are_no_encoded_arguments_are_refused(keys: list) -> None:
    with pytest.raises(TypeError, match="encoded"):
        splice(bytearray(b"*1\r\n$1\r\nx\r\n"), keys, Asked.MGET, None)


def test_nothing_is_left_behind() -> None:
    """Every way that the part in C can end, a thousand times: no object stays."""
    whole = Window((b"a", b"b", b"c"), (b"1", None, b"2"), (-1, -1, NOW_MS * 2), Asked.MGET, Clock(True), 0)
    slots = slots_of([b"a", b"b", b"c"])
    spread = replace(whole, asked=Asked.GET, takers=Takers((0, 5), False, slots, [0, 1] * (SLOTS // 2)))

    def all_ways() -> None:
        for _ in range(1000):
            assert whole.spliced()
            assert spread.spliced()
            assert splice(whole.unparsed[:-1], whole.encoded, Asked.MGET, whole.clock) is None
            assert skip(whole.unparsed, 0, 5)[1] == 0
            assert alike(whole.unparsed[-20:], whole.unparsed, 1, 0, True) is None
            assert alike(bytearray(b"$1\r\na\r\n"), bytearray(b"$1\r\na\r\n"), 1, 0, False)
            for wrong in (lambda: skip(bytearray(b"?"), 0, 1), lambda: splice(bytearray(), [None], Asked.MGET, None)):
                with pytest.raises((TypeError, ValueError)):
                    wrong()

    all_ways()
    gc.collect()
    before = sys.getallocatedblocks()
    all_ways()
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
