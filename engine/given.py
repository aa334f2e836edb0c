"""What was given of a command's options: checked, and filled up with defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .contradictions import check_together
from .options import ANSWERS, COMMAND, GLOBAL, KEYWORD, Option, options_of
from .workers.errors import UsageError


def filled(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command by key, all with a value: the one given, else the default."""
    rows = options_of(command, GLOBAL, COMMAND, KEYWORD)
    defaults = {row.key: row.default for row in rows if row.name not in ANSWERS}
    return {
        key: given[key] if key in given else default() if callable(default) else default
        for key, default in defaults.items()
    }


def from_keywords(command: str, **keywords: object) -> dict[str, Any]:
    """The options of a command from keywords of Python, all with a value, as `filled` has them.

    A value is as the option's value is inside (seconds, bytes, {0: 2}), or the text that the command line takes.
    Raises UsageError.
    """
    rows = {row.key: row for row in options_of(command, GLOBAL, COMMAND, KEYWORD)}
    given = {}
    for name, value in keywords.items():
        if name not in rows:
            raise UsageError(f"{command} has no option {name}", hint=f"keyferry {command} --help lists them")
        if value is not None:
            given[name] = _accepted(rows[name], value)
    check_together(command, given, {name: f"{name}=" for name in given})
    return filled(command, given)


def _accepted(row: Option, value: object) -> Any:
    if row.repeats and isinstance(value, list | tuple):
        return [one for part in value for one in _accepted(row, part)]
    if row.kind is None:
        if not isinstance(value, bool):
            raise UsageError(f"{row.key}={value!r}: must be True or False")
        return value
    try:
        accepted = row.kind.accept(value)
    except ValueError as error:
        raise refused(f"{row.key}={value!r}", error) from None
    return [accepted] if row.repeats else accepted


def refused(what: str, error: ValueError) -> UsageError:
    """The error for a value that its kind refused with ValueError(message[, hint])."""
    message, *hint = error.args
    return UsageError(f"{what}: {message}", hint=" ".join(hint) or "keyferry COMMAND --help lists the options")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is really near to a mistyped one, or ""."""
    from difflib import get_close_matches  # only errors need it, and a start should be quick

    return next(iter(get_close_matches(word, known, n=1, cutoff=0.78)), "")
