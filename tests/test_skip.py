"""Where replies end: the part in C passes whole ones as the parser would, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.workers.expiry import LATEST
from keyferry.workers.unparsed import skip
from tests.support.compiled import compiled
from tests.support.replies import INTEGERS, NESTED, wire

pytestmark = compiled


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
