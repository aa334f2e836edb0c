"""The product's own connection to a server, for tests of what is found out by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keyferry.partitioners.control import Control
from keyferry.workers.endpoint import Endpoint

from .servers import Server


@contextmanager
def control_of(server: Server, side: str = "source") -> Iterator[Control]:
    control = Control(Endpoint(port=server.port), side)
    control.open()
    try:
        yield control
    finally:
        control.close()
