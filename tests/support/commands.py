"""Commands of the product between servers of the tests, and what they come to."""

from __future__ import annotations

from .processes import Result, run_keyferry
from .respproxy import Proxy
from .servers import Server


def at(server: Server | Proxy) -> tuple[str, str]:
    """The words that name a server."""
    return "-p", str(server.port)


def copied(source: Server | Proxy, target: Server | Proxy, *options: str, cwd: str | None = None) -> Result:
    """A copy that must end well."""
    ran = run_keyferry(*at(source), "replicate", *at(target), *options, cwd=cwd)
    assert ran.code == 0, ran.err
    return ran


def compared(source: Server | Proxy, target: Server | Proxy, *words: str) -> Result:
    """A comparison, whatever it comes to."""
    return run_keyferry(*at(source), "compare", *at(target), *words)


def verdict_of(ran: Result) -> str:
    """The last line of what was printed."""
    return ran.out.splitlines()[-1]


def generated(server: Server, *words: str) -> Result:
    """A run that must end well."""
    ran = run_keyferry("generate", *at(server), *words)
    assert ran.code == 0, ran.err
    return ran
