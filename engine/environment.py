"""The environment as a source of options: KEYFERRY_ and the long name.

Commands on two servers read connection options from KEYFERRY_SOURCE_* and KEYFERRY_TARGET_* only, the others from
KEYFERRY_* only. An empty variable counts as not set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from .given import nearest
from .options import KEYWORD, OPTIONS, SIDE, Option
from .words import Given
from .workers.compiled import PURE_PYTHON

#: redis-cli's variable. It names no side, so commands on two servers never read it.
REDISCLI_AUTH = "REDISCLI_AUTH"
PREFIX = "KEYFERRY_"
#: What the command of --on-converged is told (`live_copy.py`); it may run keyferry.
TOLD = ("KEYFERRY_VERDICT", "KEYFERRY_KEYS", "KEYFERRY_LIVE_KEYS", "KEYFERRY_LAG_MAX_SECONDS")

#: What Kubernetes injects into a pod for a service called keyferry or keyferry-…; KEYFERRY_PORT is told by its value.
_INJECTED = re.compile(
    r"KEYFERRY(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_INJECTED_VALUE = re.compile(r"(tcp|udp|sctp)://.*")


def given(environ: Mapping[str, str], rows: Iterable[Option], side: str = "") -> dict[str, Given]:
    """The options that the environment gives, by key; `side` is 'source', 'target', or '' for no side."""
    named = ((row, variable(row, side)) for row in rows if row.environment)
    return {
        row.key: Given(row, name, environ[name], listed=row.repeats)
        for row, name in named
        if environ.get(name) and not _is_injected(name, environ[name])
    }


def without_options(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment that gives no option: for a command of ours whose words are all that is meant."""
    return {
        name: value
        for name, value in environ.items()
        if name == PURE_PYTHON or (not name.startswith(PREFIX) and name != REDISCLI_AUTH)
    }


def variable(row: Option, side: str = "") -> str:
    """The name of an option's variable."""
    return PREFIX + (f"{side}_" if side else "").upper() + row.key.upper()


def warnings(environ: Mapping[str, str]) -> list[str]:
    """A line for each KEYFERRY_* variable that means nothing."""
    known = {name for row in OPTIONS if row.environment for name in _variables(row)} | {PURE_PYTHON, *TOLD}
    refused = {variable(row): row for row in OPTIONS if not row.environment and row.place != KEYWORD}
    lines = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or not environ[name] or _is_injected(name, environ[name]):
            continue
        if name in refused:
            lines.append(f"{name} is ignored: --{refused[name].name} is not read from the environment")
            continue
        near = nearest(name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known])
        lines.append(f"{name!r} is unknown" + (f"; did you mean {PREFIX}{near}?" if near else ""))
    return lines


def _variables(row: Option) -> Iterator[str]:
    if row.source_only:
        yield variable(row, "source")
        return
    yield variable(row)
    if row.place == SIDE:
        yield variable(row, "source")
        yield variable(row, "target")


def _is_injected(name: str, value: str) -> bool:
    if _INJECTED.fullmatch(name):
        return True
    return name.endswith("_PORT") and bool(_INJECTED_VALUE.fullmatch(value))
