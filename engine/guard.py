"""`python -m keyferry.guard`: the process that changes settings for a run, and puts them back when the run is gone.

It reads orders from its standard input, a JSON object a line, and answers each by a line. When the input ends, the run
has, in whatever way: it then puts everything back, tells what became of it, and ends. Each line has the number of its
order, for whoever has waited long enough for one may hear of it during the next. Logins come by the pipe, so that
they stand neither among the arguments nor in the environment. It has a session of its own and takes no signals, so a
terminal's Ctrl-C does not reach it, nor what a service manager sends to all processes at first. It stays in the folder
of the run: paths of sockets and of files for TLS may be relative, and an absolute one may be too long for a socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Kept:
    """A change that is to be put back: the number of its order, where it is, and its undo file."""

    number: int
    where: Endpoint
    side: str
    held: Held


def main() -> None:
    """Serve one run."""
    kept: list[Kept] = []
    for line in sys.stdin.buffer:
        with contextlib.suppress(ValueError):  # the run was killed while it wrote
            order = json.loads(line)
            _answer(order["number"], change=_obey(order, kept))
    # Each on its own: a server that does not answer must not keep the others from being put back.
    for one in kept:
        threading.Thread(target=_end, args=(one,)).start()


def _end(one: Kept) -> None:
    _answer(one.number, outcome=vars(_put_back(one)))


def _obey(order: dict[str, Any], kept: list[Kept]) -> dict[str, Any]:
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
        kept.append(Kept(order["number"], where, order["side"], error.held))
        return {"kept": True, "why": str(error)}
    if held is None:
        return {"kept": False, "why": ""}
    kept.append(Kept(order["number"], where, order["side"], held))
    return {"kept": True, "why": "", "old": held.record.old}


def _put_back(one: Kept) -> Outcome:
    """Try until it is done, or for as long as a server that does not answer is worth waiting for."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            outcome = _connected(one.where, one.side, lambda control: give_up(control, one.held))
        except AccessError as error:
            outcome = failed(one.held.record, str(error))
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


def _answer(number: int, **said: dict[str, Any]) -> None:
    """What was done about an order: its `change` now, its `outcome` at the end."""
    with contextlib.suppress(OSError):  # the run is gone, and nobody listens
        os.write(1, json.dumps({"number": number, **said}).encode() + b"\n")


if __name__ == "__main__":
    main()
