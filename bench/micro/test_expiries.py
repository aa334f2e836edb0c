"""Expiries: from the replies about them to what is written."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro.conftest import KEYS, NOW_MS, Made
from keyferry.workers.batch import Batch, batch_of
from keyferry.workers.expiry import Clock, Expiries, none_of
from keyferry.workers.read import expiries_of

TIME = [b"%d" % (NOW_MS // 1000), b"0"]


@pytest.mark.parametrize("absolute", [True, False], ids=["pexpiretime", "pttl"])
def test_batches_where_a_quarter_expires(benchmark: Any, made: Made, absolute: bool) -> None:
    replies = [TIME, *made.instants] if absolute else [TIME, *made.ttls, TIME]

    def take() -> Batch:
        return batch_of(made.encoded, made.values, expiries_of(replies, Clock(absolute), KEYS))

    batch = benchmark(take)
    assert (len(batch.lasting), len(batch.expiring)) == (KEYS * 3 // 4, KEYS // 4)
    assert batch.expiring.instants[1] == NOW_MS + 60_004


def test_batches_where_nothing_expires(benchmark: Any, made: Made) -> None:
    assert len(benchmark(lambda: batch_of(made.encoded, made.values, none_of(KEYS)))) == KEYS


def test_instants(benchmark: Any, made: Made) -> None:
    found = benchmark(Expiries.told(made.instants, NOW_MS, Clock(absolute=True)).instants)
    assert found[:2] == [NOW_MS + 60_000, 0]
