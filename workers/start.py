"""Where a worker process begins. The coordinator names `serve` and never runs it, so this imports nothing."""

from __future__ import annotations

from typing import Any


def serve(pipe: Any) -> None:
    """Do the coordinator's orders, which come over the pipe, until its end: see `loop.serve`."""
    from . import loop  # in a worker it is there already: the fork server has loaded it

    loop.serve(pipe)
