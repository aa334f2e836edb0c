"""Servers that a script keeps busy."""

from __future__ import annotations

from .servers import Server

#: A script may take so long, seconds, before others are told that the server is busy; so long it takes.
LIMIT_S, TAKES_S = 0.05, 3


def busy_soon(server: Server) -> None:
    """From now on, others are told soon that a script runs."""
    server.call("CONFIG", "SET", "lua-time-limit", int(1000 * LIMIT_S))


def is_busy(server: Server) -> bool:
    """Whether that is what others are told."""
    with server.connect() as connection:
        return str(connection.call("PING")).startswith("BUSY")
