"""A window's worth of keys and of what servers reply about them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from keyferry.workers.resp import argument

KEYS = 1_000
NOW_MS = 1_800_000_000_000


@dataclass(frozen=True)
class Made:
    """Names, the same as encoded arguments, values of 100 B, PEXPIRETIME replies (a quarter expires), and PTTLs."""

    names: list[bytes]
    encoded: list[bytes]
    values: list[bytes]
    instants: list[int]
    ttls: list[int]


@pytest.fixture(scope="session")
def made() -> Made:
    names = [b"key:%d" % number for number in range(KEYS)]
    ttls = [60_000 + number if number % 4 == 0 else -1 for number in range(KEYS)]
    instants = [ttl if ttl == -1 else NOW_MS + ttl for ttl in ttls]
    return Made(names, list(map(argument, names)), [b"v" * 100] * KEYS, instants, ttls)
