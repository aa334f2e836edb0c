"""The part in C: it writes the same bytes as the part in Python, or it leaves all to that."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, pairwise

import hiredis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyferry.workers.batch import batch_of
from keyferry.workers.expiry import LATEST, Clock
from keyferry.workers.read import MOMENT_MS, Apart, Method, expiries_of, values_of
from keyferry.workers.replies import listed
from keyferry.workers.resp import argument
from keyferry.workers.unparsed import Alike, Spliced, alike, skip, splice
from keyferry.workers.write import payloads_request, strings_request
from tests.support.compiled import compiled
from tests.test_replies import INTEGERS, NESTED, wire

pytestmark = compiled

NOW_MS = 1_790_000_000_000
CLOCKS = [None, Clock(True), Clock(True, 1_500), Clock(False), Clock(False, -700), Clock(True, wanted=False)]


@dataclass(frozen=True)
class Window:
    """Keys with the value that the source has of each, and what it says of when they end."""

    keys: tuple[bytes, ...]
    values: tuple[bytes | None, ...]
    expiries: tuple[int, ...]
    dumped: bool
    clock: Clock | None
    took_ms: int

    @property
    def encoded(self) -> list[bytes]:
        return list(map(argument, self.keys))

    @property
    def unparsed(self) -> bytearray:
        """The replies to MGET, or DUMP of each, and to what `expiries_request` asks."""
        replies: list[object] = list(self.values) if self.dumped else [self.values]
        if self.clock and self.clock.wanted:
            replies += [time_reply(NOW_MS), *self.expiries]
            replies += [] if self.clock.absolute else [time_reply(NOW_MS + self.took_ms)]
        return bytearray(b"".join(map(wire, replies)))

    def spliced(self) -> Spliced | None:
        """What the part in C makes of it."""
        return splice(self.unparsed, self.encoded, self.dumped, self.clock)


def time_reply(now_ms: int) -> tuple[bytes, bytes]:
    return b"%d" % (now_ms // 1000), b"%d" % (now_ms % 1000 * 1000 + 999)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    keys = draw(st.lists(st.binary(max_size=20) | st.just(b"k" * 300), max_size=12, unique=True))
    dumped, clock = draw(st.booleans()), draw(st.sampled_from(CLOCKS))
    value = st.binary(max_size=30) | st.just(b"\0" * 5_000) | st.just(b"\r\n$-1\r\n") | st.none()
    count = {"min_size": len(keys), "max_size": len(keys)}
    near = NOW_MS if clock and clock.absolute else 0
    told = st.sampled_from([-1, -1, -2, 0, 1, near, near + 1, LATEST]) | st.integers(near, near + 10**10) | INTEGERS
    values, expiries = draw(st.lists(value, **count)), draw(st.lists(told, **count))
    return Window(tuple(keys), tuple(values), tuple(expiries), dumped, clock, draw(st.integers(0, MOMENT_MS)))


def by_python(window: Window) -> tuple[bytes, int, int, int, list[int]]:
    """As `Window` of the product does it: the request, its commands, how many keys and bytes, and what was nil."""
    method = Method.DUMP if window.dumped else Method.MGET
    replies, count = listed(window.unparsed), len(window.keys) if window.dumped else 1
    values = values_of(method, replies[:count])
    clock = window.clock or Clock(True, wanted=False)
    there = [value is not None for value in values]
    expiries = expiries_of(replies[count:], clock, len(window.keys)).only(there)
    batch = batch_of(list(compress(window.encoded, there)), list(compress(values, there)), expiries)
    request, commands = (payloads_request if window.dumped else strings_request)(batch, False)
    assert isinstance(request, bytes)
    odd = [place for place, value in enumerate(values) if value is None]
    return request, commands, len(batch), sum(map(len, batch.all_values())), odd


@given(windows())
def test_it_writes_what_python_writes(window: Window) -> None:
    found = window.spliced()
    assert found is not None
    assert (found.request, found.commands, found.copied, found.size, found.odd) == by_python(window)
    kept = [value for value, told in zip(window.values, _instants(window)) if value is not None and told]
    assert found.largest == max(map(len, kept), default=0)
    assert found.strings == sum(not window.dumped or value[:1] == b"\0" for value in kept)
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
    found = splice(whole[:cut], window.encoded, window.dumped, window.clock)
    told = window.clock and window.clock.wanted
    assert found is None or (window.dumped and not window.keys and not told)


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
    replies = [wire(value) for value in window.values]
    place = data.draw(st.integers(0, len(replies) - 1))
    replies[place] = word
    head = b"" if window.dumped else b"*%d\r\n" % len(replies)
    changed = bytearray(head + b"".join(replies)) + window.unparsed[_values_end(window) :]
    assert splice(changed, window.encoded, window.dumped, window.clock) is None


def _values_end(window: Window) -> int:
    head = b"" if window.dumped else b"*%d\r\n" % len(window.values)
    return len(head) + sum(len(wire(value)) for value in window.values)


@given(windows(), st.sampled_from(WORDS), st.data())
def test_any_other_reply_among_the_expiries_is_left_to_python(window: Window, word: bytes, data: st.DataObject) -> None:
    """TIME or an expiry that was refused, say, or a server that is busy."""
    assume(window.clock and window.clock.wanted)
    end = _values_end(window)
    lines = [wire(time_reply(NOW_MS)), *map(wire, window.expiries)]
    lines += [] if window.clock and window.clock.absolute else [wire(time_reply(NOW_MS))]
    lines[data.draw(st.integers(0, len(lines) - 1))] = word
    changed = window.unparsed[:end] + b"".join(lines)
    assert splice(changed, window.encoded, window.dumped, window.clock) is None


@given(windows())
def test_another_number_of_keys_is_left_to_python(window: Window) -> None:
    assume(not window.dumped)
    encoded = [*window.encoded, argument(b"one more")]
    assert splice(window.unparsed, encoded, False, window.clock) is None


def test_times_that_are_too_far_apart_are_left_to_python() -> None:
    """There the expiries have to be asked for again: `Apart`."""
    window = Window((b"key",), (b"value",), (5_000,), False, Clock(False), MOMENT_MS + 1)
    assert window.spliced() is None
    with pytest.raises(Apart):
        by_python(window)


def test_what_follows_the_values_is_told_where_no_expiries_were_asked_for() -> None:
    """So INFO can be looked at, which says that no key expires."""
    window, info = Window((b"a", b"b"), (b"1", b"2"), (), False, None, 0), b"$4\r\nINFO\r\n"
    replies = window.unparsed + info
    found = splice(replies, window.encoded, False, None)
    assert found is not None
    assert replies[found.past :] == info


# ---- two sides -------------------------------------------------------------------------------------------------------

TELLING = st.binary(max_size=20) | st.lists(NESTED, min_size=1, max_size=4).map(tuple)
TOLD = st.lists(TELLING, max_size=6)


def side(values: Sequence[object], in_array: bool, expiries: Sequence[int] | None, now_ms: int) -> bytearray:
    """What one side says of its keys."""
    told: list[object] = [tuple(values)] if in_array else list(values)
    if expiries is not None:
        told += [time_reply(now_ms), *expiries]
    return bytearray(b"".join(map(wire, told)))


@given(TOLD, st.booleans(), st.booleans(), st.binary(max_size=5))
def test_the_same_words_at_another_time_are_alike(
    values: list[object], in_array: bool, expire: bool, more: bytes
) -> None:
    """Whatever follows is left to who has asked for it."""
    expiries = [-1 if place % 2 else NOW_MS + place for place in range(len(values))] if expire else None
    ours, theirs = side(values, in_array, expiries, NOW_MS), side(values, in_array, expiries, NOW_MS + 1_000_000)
    size = sum(len(value) for value in values if isinstance(value, bytes) and value != b"OK")
    found = alike(ours + more, theirs, len(values), in_array, expire)
    statuses = b"OK" in values  # `wire` sends these as no value is sent
    assert found == (None if statuses else Alike(size, len(ours), len(theirs)))


@given(TOLD, st.booleans(), st.booleans(), st.data())
def test_another_byte_is_not_alike(values: list[object], in_array: bool, expire: bool, data: st.DataObject) -> None:
    """Anywhere but in TIME, and wherever one side ends."""
    assume(values and b"OK" not in values)
    expiries = [NOW_MS] * len(values) if expire else None
    ours = side(values, in_array, expiries, NOW_MS)
    place = data.draw(st.integers(0, len(ours) - 1))
    time_begins = len(side(values, in_array, None, 0))
    assume(not expire or not time_begins <= place < time_begins + len(wire(time_reply(NOW_MS))))
    changed = bytearray(ours)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert alike(ours, changed, len(values), in_array, expire) is None
    assert alike(ours, ours[:place], len(values), in_array, expire) is None
    assert alike(ours[:place], ours, len(values), in_array, expire) is None


@pytest.mark.parametrize("word", [b"$-1\r\n", b"*0\r\n", b"*-1\r\n", b"-ERR no\r\n", b"+OK\r\n", b":1\r\n", b"*1\r\n"])
def test_what_tells_no_value_is_not_alike_though_both_say_it(word: bytes) -> None:
    """A key that is gone on both sides, or of another type, is looked at closely."""
    said = bytearray(b"$1\r\na\r\n" + word)
    assert alike(said, said, 2, False, False) is None
    assert alike(said, said, 1, False, False) == Alike(1, 7, 7)


# ---- where replies end -----------------------------------------------------------------------------------------------


@given(st.lists(NESTED, max_size=8), st.binary(max_size=9), st.lists(st.integers(0, 1 << 12), max_size=12))
def test_whole_replies_are_passed_however_they_are_cut(replies: list[object], more: bytes, cuts: list[int]) -> None:
    """And nothing beyond them is looked at."""
    data = b"".join(map(wire, replies))
    begin, due = 0, len(replies)
    for _, end in pairwise(sorted({0, len(data) + len(more), *(cut % (len(data) + 1) for cut in cuts)})):
        begin, due = skip(bytearray((data + more)[:end]), begin, due)
    assert (begin, due) == (len(data), 0)


#: Of 64 bits or not, and some that only begin like a number.
NUMBERS = INTEGERS.map(str) | st.integers(0, 1 << 70).map(str) | st.text("0123456789-+ ", max_size=21)


@pytest.mark.parametrize("number", [LATEST, LATEST + 1, -LATEST - 1, -LATEST - 2, 10**18, 0])
@pytest.mark.parametrize("kind", [":", "$", "*"])
def test_the_borders_of_64_bits_are_where_the_parser_has_them(kind: str, number: int) -> None:
    assert passed(kind, str(number)) == parsed(kind, str(number))


@given(st.sampled_from(":$*"), NUMBERS)
def test_a_number_is_one_where_the_parser_says_so(kind: str, number: str) -> None:
    """Also of bytes and of parts."""
    assert passed(kind, number) == parsed(kind, number)


def passed(kind: str, number: str) -> bool:
    """Whether the part in C takes a number for one; as many parts, or bytes, need not be there."""
    try:
        skip(f"{kind}{number}\r\n".encode(), 0, 1)
    except ValueError:
        return False
    return True


def parsed(kind: str, number: str) -> bool:
    """Whether the parser does; for an array of so many parts there may be no memory."""
    parser = hiredis.Reader(notEnoughData=None)
    parser.feed(f"{kind}{number}\r\n".encode())
    try:
        parser.gets()
    except hiredis.ProtocolError:
        return False
    except MemoryError:
        return True
    return True


@pytest.mark.parametrize("data", [b"?", b"$x", b"$-2\r\n", b"$3\r\nabcd\r\n", b":1\n", b":\r\n", b"*2 \r\n", b":1\rx"])
def test_what_no_server_says_is_found(data: bytes) -> None:
    with pytest.raises(ValueError, match="byte 5"):
        skip(bytearray(b"+OK\r\n" + data), 0, 2)


def test_random_bytes_do_no_harm() -> None:
    """Neither what begins like replies, nor places that do not exist."""
    chance = random.Random(7)
    keys = [argument(b"a"), argument(b"b")]
    for _ in range(20_000):
        pieces = chance.choices([b"*2\r\n", b"$1\r\nx\r\n", b"$", b"\r\n", b":", b"-1", b"99", b"\0", *WORDS], k=9)
        data = bytearray(b"".join(pieces))
        splice(data, keys, chance.random() < 0.5, chance.choice(CLOCKS))
        alike(data, data[: chance.randint(0, len(data))], 2, chance.random() < 0.5, chance.random() < 0.5)
        try:
            begin, due = skip(data, chance.randint(-5, 99), chance.randint(-1, 9))
        except ValueError:
            continue
        assert 0 <= begin <= len(data)
        assert due >= -1


@pytest.mark.parametrize("keys", [["text"], [b""], [b"x"], [None]])
def test_keys_that_are_no_encoded_arguments_are_refused(keys: list) -> None:
    with pytest.raises(TypeError, match="encoded"):
        splice(bytearray(b"*1\r\n$1\r\nx\r\n"), keys, False, None)


def test_nothing_is_left_behind() -> None:
    """Every way that the part in C can end, a thousand times: no object stays."""
    whole = Window((b"a", b"b", b"c"), (b"1", None, b"2"), (-1, -1, NOW_MS * 2), False, Clock(True), 0)

    def all_ways() -> None:
        for _ in range(1000):
            assert whole.spliced()
            assert splice(whole.unparsed[:-1], whole.encoded, False, whole.clock) is None
            assert skip(whole.unparsed, 0, 5)[1] == 0
            assert alike(whole.unparsed[-20:], whole.unparsed, 1, False, True) is None
            assert alike(bytearray(b"$1\r\na\r\n"), bytearray(b"$1\r\na\r\n"), 1, False, False)
            for wrong in (lambda: skip(bytearray(b"?"), 0, 1), lambda: splice(bytearray(), [None], False, None)):
                with pytest.raises((TypeError, ValueError)):
                    wrong()

    all_ways()
    gc.collect()
    before = sys.getallocatedblocks()
    all_ways()
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
