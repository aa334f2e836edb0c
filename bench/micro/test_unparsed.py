"""From a window's replies to its writes: by the part in C, and by what does the same in Python."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro.conftest import KEYS, NOW_MS, Made
from keyferry.workers.batch import batch_of
from keyferry.workers.compiled import BUILT
from keyferry.workers.expiry import Clock
from keyferry.workers.read import expiries_of
from keyferry.workers.replies import listed
from keyferry.workers.unparsed import Asked, splice
from keyferry.workers.write import strings_request

CLOCK = Clock(absolute=True)


@pytest.fixture(scope="module")
def replies(made: Made) -> bytearray:
    """To an MGET, TIME, and a PEXPIRETIME for each key."""
    values = b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in made.values])
    time = b"*2\r\n$10\r\n%d\r\n$1\r\n0\r\n" % (NOW_MS // 1000)
    return bytearray(b"*%d\r\n" % KEYS + values + time + b"".join([b":%d\r\n" % instant for instant in made.instants]))


def in_python(replies: bytearray, keys: list[bytes]) -> object:
    values, *told = listed(replies)
    request, _ = strings_request(batch_of(keys, values, expiries_of(told, CLOCK, len(keys))), large=False)
    return request


@pytest.mark.skipif(not BUILT, reason="there was no compiler")
def test_in_c(benchmark: Any, made: Made, replies: bytearray) -> None:
    found = benchmark(splice, replies, made.encoded, Asked.MGET, CLOCK)
    ((_, request, _),) = found.requests
    assert request == in_python(replies, made.encoded)


def test_in_python(benchmark: Any, made: Made, replies: bytearray) -> None:
    request = benchmark(in_python, replies, made.encoded)
    assert request.count(b"key:") == KEYS
