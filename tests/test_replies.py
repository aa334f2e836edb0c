"""Replies out of bytes: however these are cut, each request gets its own, whatever is known of them before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.workers.replies import RECV_BYTES, Replies, Way, listed, mark_request, new_mark, recv_buffer
from tests.support.compiled import compiled
from tests.support.replies import NESTED, OKS, SINGLE, wire

EACH, FLAT, MARKED, UNPARSED = Way
WITH_MARK = (MARKED, UNPARSED)


@dataclass(frozen=True)
class Request:
    """What a server says to one request: each reply as it is, and as bytes."""

    kind: Way
    replies: tuple[object, ...]
    refuses_mark: bool = False


def plain(reply: object) -> object:
    """A reply of the parser as `wire` takes it."""
    if isinstance(reply, list):
        return tuple(map(plain, reply))
    return str(reply) if isinstance(reply, Exception) else reply


def requests(kind: Way) -> st.SearchStrategy[Request]:
    """Requests of one kind, some of them answered by OK alone."""
    replies = st.lists(OKS, min_size=1, max_size=30) | st.lists(SINGLE if kind == FLAT else NESTED, min_size=1)
    return st.builds(Request, st.just(kind), replies.map(tuple), st.integers(0, 4).map(lambda number: not number))


SEVERAL = st.lists(st.sampled_from(Way).flatmap(requests), min_size=1, max_size=12)


def run(asked: Sequence[Request], cuts: Iterable[int]) -> list[tuple[object, ...]]:
    """What each request gets; all are asked at first, as by a pipeline that is full, and bytes come cut at `cuts`."""
    replies = Replies()
    got: list[tuple[object, ...]] = []
    data = b""
    for request in asked:
        mark = new_mark() if request.kind in WITH_MARK else b""
        data += b"".join(map(wire, request.replies))
        data += wire("BUSY running a script" if request.refuses_mark else mark) if mark else b""
        came = lambda some: got.append(tuple(map(plain, listed(some))))  # noqa: E731
        replies.expect(len(request.replies), came, request.kind, mark)
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in pairwise(borders):
        recv_buffer[: end - begin] = data[begin:end]
        replies.take(end - begin)
        replies.deliver()
    assert not replies.due
    return got


@given(SEVERAL, st.lists(st.integers(0, 1 << 16), max_size=40))
def test_each_request_gets_its_replies_however_the_bytes_are_cut(asked: list[Request], cuts: list[int]) -> None:
    """Wherever a reply, an array, a mark or an OK is cut."""
    assert run(asked, cuts) == [request.replies for request in asked]


@given(SEVERAL)
def test_byte_by_byte(asked: list[Request]) -> None:
    """Every cut there is."""
    assert run(asked, range(1 << 13)) == [request.replies for request in asked]


@pytest.mark.parametrize("size", [1, 100, 3_000, 50_000])
def test_marked_requests_of_every_size(size: int) -> None:
    """Values over what is fed at a time, and requests over what is received at a time."""
    values = tuple(b"%d" % number * size for number in range(20))
    asked = [
        Request(kind, values)
        for kind in (MARKED, MARKED, UNPARSED, EACH, MARKED, UNPARSED, UNPARSED, MARKED, FLAT, MARKED)
    ]
    assert run(asked, range(0, 1 << 24, RECV_BYTES)) == [values] * len(asked)


def take(replies: Replies, data: bytes) -> None:
    """Have these bytes received."""
    recv_buffer[: len(data)] = data
    replies.take(len(data))


@pytest.mark.parametrize("way", WITH_MARK)
def test_a_reply_too_many_is_found_by_the_mark(way: Way) -> None:
    """What a server says that nobody has asked would else be taken for the answer to something."""
    replies, mark, before = Replies(), new_mark(), new_mark()
    replies.expect(1, lambda _: None, MARKED, before)
    take(replies, b"+OK\r\n" + wire(before))
    replies.deliver()
    replies.expect(1, lambda _: None, way, mark)
    with pytest.raises(hiredis.ProtocolError):
        take(replies, b"+OK\r\n+OK\r\n" + wire(mark))
    assert [count for count, _ in replies.give_up()] == [1]  # who has asked is told when the connection is given up


@compiled
def test_unparsed_replies_are_handed_over_as_bytes() -> None:
    """Once it is known where they begin; those of a server that has refused the mark are parsed."""
    replies, got = Replies(), []
    answers = [wire((b"value", None)) + wire(7), wire("BUSY") * 2]
    for answer in (answers[0], *answers, answers[0]):
        mark = new_mark()
        replies.expect(2, got.append, UNPARSED, mark)
        take(replies, answer + (wire("BUSY") if answer == answers[1] else wire(mark)))
        replies.deliver()
    assert got[0] == [[b"value", None], 7]
    assert got[1] == got[3] == answers[0]
    assert [type(reply) for reply in got[2]] == [hiredis.ReplyError] * 2


@compiled
def test_what_is_no_reply_ends_unparsed_ones_as_well() -> None:
    """As soon as it has come."""
    replies, mark = Replies(), new_mark()
    replies.expect(1, lambda _: None, MARKED, mark)
    take(replies, b"+OK\r\n" + wire(mark))
    replies.expect(2, lambda _: None, UNPARSED, new_mark())
    take(replies, b"+O")
    with pytest.raises(hiredis.ProtocolError):
        take(replies, b"K\r\nHTTP/1.1 400 Bad Request\r\n")


def test_a_mark_is_asked_for_once_and_is_another_each_time() -> None:
    """A value that holds one was written after it had been used."""
    marks = {new_mark() for _ in range(1000)}
    assert len(marks) == 1000
    assert all(mark_request(mark) == b"*2\r\n$4\r\nPING\r\n$16\r\n%b\r\n" % mark for mark in marks)


def test_who_waits_is_known_when_nothing_more_comes() -> None:
    """Those whose replies have come whole and were not delivered are told as well."""
    replies, got = Replies(), []
    replies.expect(2, got.append)
    replies.expect(3, got.append, MARKED, new_mark())
    recv_buffer[:10] = b"+OK\r\n+OK\r\n"
    replies.take(10)
    assert replies.due
    assert [count for count, _ in replies.give_up()] == [2, 3]
    assert not replies.due
    assert not got


def test_an_ok_of_a_marked_request_may_come_with_those_of_writes_before() -> None:
    """Such a request has a part of its replies, so that the others are not told as a whole array."""
    asked = [Request(MARKED, (1,)), Request(FLAT, (b"OK", b"OK")), Request(MARKED, (b"OK", 7))]
    mark_ends = len(wire(1) + wire(new_mark()))
    assert run(asked, [mark_ends, mark_ends + 3 * len(wire(b"OK"))]) == [request.replies for request in asked]
