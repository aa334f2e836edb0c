"""keyferry copies Redis and Valkey databases, and says only what it has proved.

import keyferry

summary = keyferry.replicate("redis://source:6379", "redis://target:6379", workers=4)
print(summary.text())
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from .workers.endpoint import Endpoint
from .workers.errors import (
    AccessError,
    InternalError,
    KeyferryError,
    NotConverged,
    RefusedError,
    RunError,
    StateError,
    UsageError,
)
from .workers.tls import Tls

if TYPE_CHECKING:
    from .copying import Copy
    from .grammar import Invocation
    from .logs import Log
    from .plans import Plan
    from .summary import Summary

__all__ = [
    "AccessError",
    "Endpoint",
    "InternalError",
    "KeyferryError",
    "NotConverged",
    "RefusedError",
    "RunError",
    "StateError",
    "Tls",
    "UsageError",
    "compare",
    "plan",
    "replicate",
]

VERSION = "0.1.0"


def replicate(source: str | Endpoint, target: str | Endpoint, **options: object) -> Summary:
    """Copy `source` to `target` (URIs or Endpoints); options are those of the command line, with underscores.

    Their values are seconds, bytes, numbers, or the texts that the command line takes: `idle_timeout=0.5` or `"500ms"`.
    Returns the Summary; its `exit_code` is that of the command: 0, 1 where keys differ, were put aside or evicted, or 8
    where a live copy cannot claim that both sides are equal. Raises a KeyferryError for anything that ends the copy
    early; it has `message`, `side`, `address`, `hint` and `exit_code`. Messages go to stderr from warnings on;
    `progress="log"` shows more.
    """
    if options.get("dry_run"):
        raise UsageError("dry_run has no Summary: nothing is copied", hint="keyferry.plan takes the same arguments")
    copy = _copy(source, target, options)
    with closing(copy.log):
        return copy.run()


def compare(source: str | Endpoint, target: str | Endpoint, **options: object) -> Summary:
    """Compare two servers; options are those of `keyferry compare`. Raises as `replicate` does.

    The Summary's `verdict` has the outcome; its `exit_code` is 0 where nothing differs, else 1. With `dry_run` it has
    the plan of a repair.
    """
    from .comparing import Compare
    from .grammar import from_python
    from .signals import Signals

    call = from_python("compare", [source, target], **{"progress": "none", "json": True} | options)
    with closing(_log(call)) as log:
        return Compare(call, log, Signals()).run()


def plan(source: str | Endpoint, target: str | Endpoint, **options: object) -> Plan:
    """What `replicate` would do with the same arguments; touches nothing."""
    copy = _copy(source, target, options)
    with closing(copy.log):
        return copy.plan()


def _copy(source: str | Endpoint, target: str | Endpoint, options: dict[str, object]) -> Copy:
    from .copying import Copy
    from .grammar import from_python
    from .signals import Signals

    call = from_python("replicate", [source, target], **{"progress": "none"} | options)
    return Copy(call, _log(call), Signals())


def _log(call: Invocation) -> Log:
    from .cli import make_log
    from .logs import NOTICE, WARNING

    return make_log(call, usual=WARNING if call.options["progress"] == "none" else NOTICE)
