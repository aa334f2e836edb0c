"""Where processes begin. The coordinator names these functions and never runs them, so this imports nothing."""

from __future__ import annotations

from typing import Any


def serve(pipe: Any) -> None:
    """Do the coordinator's orders, which come over the pipe, until its end: see `loop.serve`."""
    from . import loop  # in a worker it is there already: the fork server has loaded it

    loop.serve(pipe)


def serve_feed(pipe: Any) -> None:
    """Listen to the sources until the pipe's end: see `feed.serve`."""
    from . import feed

    feed.serve(pipe)
