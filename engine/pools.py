"""How many connections there may be to a node of a side (--pool), and how many workers that leaves room for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .workers.endpoint import Endpoint
from .workers.errors import UsageError

_LEAST = 8  # connections where the user says nothing


def bounded_workers(workers: int, pools: Iterable[int | None], exact: bool) -> int:
    """How many workers the pools allow; each worker needs a connection. None is a pool that was not given.

    `exact`: the user chose the number of workers, so a smaller pool raises UsageError.
    """
    least = min((pool for pool in pools if pool is not None), default=workers)
    if exact and workers > least:
        raise UsageError(f"--workers {workers} is more than --pool {least}", hint="every worker needs a connection")
    return min(workers, least)


def with_pool(server: Endpoint, workers: int) -> Endpoint:
    """The server with its pool filled in where the user gave none."""
    return server if server.pool is not None else replace(server, pool=max(_LEAST, workers))
