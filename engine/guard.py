"""`python -m keyferry.guard`: the process that changes settings for a run, and puts them back when the run is gone.

It reads orders from its standard input, a JSON object a line, and answers each by a line. When the input ends, the run
has, in whatever way: it then puts everything back, tells what became of it, and ends. Logins come by the pipe, so that
they stand neither among the arguments nor in the environment. It has a session of its own and takes no signals, so a
terminal's Ctrl-C does not reach it, nor what a service manager sends to all processes at first. It stays in the folder
of the run: paths of sockets and of files for TLS may be relative, and an absolute one may be too long for a socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from .partitioners.control import Control
from .undo import NotChanged, Outcome, Unanswered, Wanted, change, failed, give_up
from .undofile import Held
from .workers import endpoint
from .workers.endpoint import Endpoint
from .workers.errors import AccessError

#: A server that does not answer is tried for so long after the run has ended, then left to the next command.
PATIENCE_S = 60.0
PAUSE_S = 0.5
#: One command of ours may take no longer, whatever those of the run may.
TIMEOUT_S = 10.0

T = TypeVar("T")


def main() -> None:
    """Serve one run."""
    kept: list[tuple[Endpoint, str, Held]] = []
    for line in sys.stdin.buffer:
        with contextlib.suppress(ValueError):  # the run was killed while it wrote
            _answer(_obey(json.loads(line), kept))
    for where, side, held in kept:
        _answer(vars(_put_back(where, side, held)))


def _obey(order: dict[str, Any], kept: list[tuple[Endpoint, str, Held]]) -> dict[str, Any]:
    """Change a setting; the answer says whether it is `kept`, to be put back, and `why` it is not changed for certain.

    Neither: the server had that value.
    """
    where = endpoint.unpack(order["endpoint"])
    where = replace(where, timeout_s=min(TIMEOUT_S, where.timeout_s), client_name="keyferry:guard")
    try:
        held = _connected(where, order["side"], lambda control: change(control, Wanted(**order["wanted"])))
    except (NotChanged, AccessError) as error:
        return {"kept": False, "why": str(error)}
    except Unanswered as error:
        kept.append((where, order["side"], error.held))
        return {"kept": True, "why": str(error)}
    if held is None:
        return {"kept": False, "why": ""}
    kept.append((where, order["side"], held))
    return {"kept": True, "why": "", "old": held.record.old}


def _put_back(where: Endpoint, side: str, held: Held) -> Outcome:
    """Try until it is done, or for as long as a server that does not answer is worth waiting for."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            outcome = _connected(where, side, lambda control: give_up(control, held))
        except AccessError as error:
            outcome = failed(held.record, str(error))
        if not outcome.failed or time.monotonic() > deadline:
            return outcome
        time.sleep(PAUSE_S)


def _connected(where: Endpoint, side: str, work: Callable[[Control], T]) -> T:
    control = Control(where, side)
    try:
        control.open()
        return work(control)
    finally:
        control.close()


def _answer(fields: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the run is gone, and nobody listens
        os.write(1, json.dumps(fields).encode() + b"\n")


if __name__ == "__main__":
    main()
