"""Filters: names against globs, and what the source tells of keys."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro.conftest import KEYS, Made
from keyferry.workers.expiry import Clock
from keyferry.workers.filters import Filters, together


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        (Filters(match=b"key:1*"), 111),
        (Filters(include=[b"*[0-4]", b"key:??7"], exclude=[b"*:9*"]), 525),
        (Filters(exclude=[b"*1*", b"*2*", b"*3*"]), 343),
    ],
    ids=["match", "include and exclude", "three excludes"],
)
def test_names(benchmark: Any, made: Made, filters: Filters, passing: int) -> None:
    assert len(benchmark(filters.named, made.names)) == passing


def test_types_and_sizes(benchmark: Any, made: Made) -> None:
    asked = Filters(types=["string"], max_bytes=100).questions(Clock(absolute=True))
    types = [b"string" if number % 2 else b"hash" for number in range(KEYS)]
    sizes = [number % 200 for number in range(KEYS)]

    def judge() -> list[bool | None]:
        of_type, at_most = asked
        return together([of_type.verdicts(types, KEYS), at_most.verdicts(sizes + sizes, KEYS)])

    assert benchmark(judge).count(True) == sum(number % 2 and number % 200 <= 100 for number in range(KEYS))
