"""Command lines as tests write them: one string, split at blanks."""

from __future__ import annotations

import pytest

from keyferry.grammar import Invocation, parse
from keyferry.workers.errors import UsageError


def read(line: str, **environ: str) -> Invocation:
    """A command line without its first word, split at blanks."""
    return parse(line.split(), environ)


def refusal(line: str, **environ: str) -> str:
    """The error of a command line, with its hint."""
    with pytest.raises(UsageError) as caught:
        read(line, **environ)
    assert "\n" not in f"{caught.value}{caught.value.hint}"
    return f"{caught.value} | {caught.value.hint}"
