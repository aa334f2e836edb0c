"""Reaching one server: from its address to a control connection that has said what the server is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from . import undo
from .logs import Log
from .partitioners import sentinel, topology
from .partitioners.control import Control
from .partitioners.server import Server
from .workers.endpoint import Endpoint
from .workers.errors import UnreachedError

#: A server that does not answer is tried again after so long.
CONNECT_PAUSE_S = 0.5


@contextlib.contextmanager
def closed_on_error(controls: list[Control]) -> Iterator[None]:
    """Within `with`: where an error comes, what is in the list by then is given back."""
    try:
        yield
    except BaseException:
        for control in controls:
            control.close()
        raise


def reach(
    endpoint: Endpoint, side: str, wait_for_s: float, patient: bool, log: Log, may_change: bool
) -> tuple[Control, Server]:
    """A control connection to a server that serves, and what it is. Raises AccessError, StateError.

    Settings that killed runs have left there are put back, or told of by those who may change nothing.

    A server that loads its data is waited for. One that does not answer at all is waited for only by the `patient`,
    who said --wait-for: mistyped addresses are more frequent than servers that are just being started.
    """
    control = _connect(endpoint, side, wait_for_s if patient else 0.0, log)
    with closed_on_error([control]):
        topology.wait_until_it_serves(control, wait_for_s, log.notice)
        server = topology.describe(control)
        undo.tell(undo.left_behind(control, server.run_id, may_change), log)
    return control, server


def _connect(endpoint: Endpoint, side: str, wait_for_s: float, log: Log) -> Control:
    deadline = time.monotonic() + wait_for_s
    said = False
    while True:
        control = Control(endpoint, side)
        try:
            if endpoint.sentinels:
                control.endpoint = sentinel.master_of(endpoint, side)
            control.open()
            return control
        except UnreachedError as error:
            control.close()
            if time.monotonic() >= deadline:
                raise
            if not said:
                log.notice(f"waiting: {error}")
                said = True
            time.sleep(CONNECT_PAUSE_S)
