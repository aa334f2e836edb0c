"""Where processes begin. The coordinator names these functions and never runs them, so this imports nothing."""

from __future__ import annotations

import socket


def serve(sock: socket.socket) -> None:
    """Do the coordinator's orders, which come over a pipe, until its end: see `loop.serve`."""
    from . import loop, pipe  # in a worker they are there already: the fork server has loaded them

    loop.serve(pipe.Pipe(sock))


def serve_feed(sock: socket.socket) -> None:
    """Listen to the sources until the pipe's end: see `feed.serve`."""
    from . import feed, pipe

    feed.serve(pipe.Pipe(sock))
