"""`keyferry compare`: verify one server against another."""

from __future__ import annotations

from .. import forkserver
from ..grammar import Invocation
from ..logs import Log
from ..output import say_result
from ..signals import Signals
from .replicate import result


def run(call: Invocation, log: Log) -> int:
    """Compare and print the verdict; the exit code. Raises KeyferryError for what ends the comparison early."""
    forkserver.begin()
    from ..comparing import Compare  # a good part of what there is: it is loaded while the fork server gets ready

    signals = Signals()
    compare = Compare(call, log, signals)
    compare.began_cpu_s = 0.0
    try:
        with signals:
            return compare.run().exit_code
    finally:
        if compare.summary:
            say_result(result(compare.summary, call.options["json"], call.options["quiet"]))
