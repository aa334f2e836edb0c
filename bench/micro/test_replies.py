"""Replies: from the bytes of a socket to values, as a connection takes them."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from bench.micro.conftest import KEYS, Made
from keyferry.workers.conn import RECV_BYTES
from keyferry.workers.read import Method, values_of

NO_MORE = object()


def parse(pieces: list[memoryview]) -> list[Any]:
    """All replies in these pieces, by the parser as a connection uses it."""
    reader, got = hiredis.Reader(notEnoughData=NO_MORE), []
    for piece in pieces:
        reader.feed(piece)
        got.extend(iter(reader.gets, NO_MORE))
    return got


def pieces_of(stream: bytes) -> list[memoryview]:
    return [memoryview(stream)[at : at + RECV_BYTES] for at in range(0, len(stream), RECV_BYTES)]


@pytest.mark.parametrize("size", [100, 10_000])
def test_values_of_an_mget(benchmark: Any, size: int) -> None:
    stream = b"*%d\r\n" % KEYS + b"".join(b"$%d\r\n%b\r\n" % (size, b"v" * size) for _ in range(KEYS))
    replies = benchmark(parse, pieces_of(stream))
    assert values_of(Method.MGET, replies) == [b"v" * size] * KEYS


@pytest.mark.parametrize("size", [100, 10_000])
def test_values_of_gets(benchmark: Any, size: int) -> None:
    stream = (b"$%d\r\n%b\r\n" % (size, b"v" * size)) * KEYS
    replies = benchmark(parse, pieces_of(stream))
    assert values_of(Method.GET, replies) == [b"v" * size] * KEYS


def test_expiries(benchmark: Any, made: Made) -> None:
    assert benchmark(parse, pieces_of(b"".join(b":%d\r\n" % instant for instant in made.instants))) == made.instants
