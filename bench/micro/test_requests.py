"""Requests: what a window asks of the source, and what it writes at the target."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro.conftest import KEYS, NOW_MS, Made
from keyferry.workers.batch import batch_of
from keyferry.workers.expiry import Clock, Expiries
from keyferry.workers.read import Method, expiries_request, values_request
from keyferry.workers.write import payloads_request, strings_request


@pytest.mark.parametrize("method", list(Method), ids=lambda method: method.value)
def test_values(benchmark: Any, made: Made, method: Method) -> None:
    request, replies = benchmark(values_request, method, made.encoded)
    assert request.count(b"key:") == KEYS
    assert replies == (1 if method is Method.MGET else KEYS)


@pytest.mark.parametrize("absolute", [True, False], ids=["pexpiretime", "pttl"])
def test_expiries(benchmark: Any, made: Made, absolute: bool) -> None:
    request, replies = benchmark(expiries_request, Clock(absolute), made.encoded)
    assert (request.count(b"key:"), replies) == (KEYS, KEYS + (1 if absolute else 2))


@pytest.mark.parametrize("build", [strings_request, payloads_request], ids=["strings", "payloads"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_writes(benchmark: Any, made: Made, build: Any, large: bool) -> None:
    batch = batch_of(made.encoded, made.values, Expiries.told(made.instants, NOW_MS, Clock(absolute=True)))
    request, _ = benchmark(build, batch, large)
    assert sum(piece.count(b"key:") for piece in ([request] if isinstance(request, bytes) else request)) == KEYS
