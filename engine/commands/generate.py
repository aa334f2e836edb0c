"""`keyferry generate`: write a data set of all types, and keep changing it."""

from __future__ import annotations

from ..generating import Generation
from ..grammar import Invocation
from ..logs import Log
from ..output import say_result
from ..signals import Signals
from .replicate import result


def run(call: Invocation, log: Log) -> int:
    """Write and change, and print what was done; the exit code. Raises KeyferryError after the closing table."""
    with Signals() as signals:
        generation = Generation(call.servers[0], call.options, log, signals)
        try:
            return generation.run().exit_code
        finally:
            if generation.summary:
                say_result(result(generation.summary, call.options["json"]))
