"""`keyferry generate`: write a data set of all types."""

from __future__ import annotations

from ..generating import generate
from ..grammar import Invocation
from ..logs import Log
from ..output import say_result
from ..signals import Signals
from .replicate import result


def run(call: Invocation, log: Log) -> int:
    """Write, and print what was written; the exit code."""
    with Signals() as signals:
        summary = generate(call.servers[0], call.options, log, signals)
    say_result(result(summary, call.options["json"]))
    return summary.exit_code
