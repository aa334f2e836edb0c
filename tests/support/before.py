"""A fault proxy before a server, and what is waited for behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .proxy import FaultProxy
from .servers import Server

#: What should happen at once may take so long on a machine under load, seconds.
PATIENCE_S = 20.0


@contextmanager
def before(server: Server, map: str = "") -> Iterator[FaultProxy]:
    """A proxy with this map of faults, as long as the block lasts."""
    with FaultProxy(server.port, map) as proxy:
        yield proxy


def is_healthy(proxy: FaultProxy) -> bool:
    """Whether a new connection is served."""
    with proxy.connect() as connection:
        return connection.call("PING") == b"PONG"


def eventually(what: Any, wanted: Any) -> None:
    """Return once `what()` is what is wanted."""
    deadline = time.monotonic() + PATIENCE_S
    while what() != wanted:
        assert time.monotonic() < deadline, f"{what()!r}, not {wanted!r}"
        time.sleep(0.01)
