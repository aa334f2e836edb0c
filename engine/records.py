"""Where the coordinator puts what is told of single keys: a file of keys put aside, or findings of a comparison."""

from __future__ import annotations

from typing import Protocol

from .workers.finding import Finding
from .workers.news import Aside
from .workers.task import Scope


class Records(Protocol):
    """Takes records as they are acknowledged."""

    def add(self, record: Aside | Finding) -> None:
        """Keep one."""

    def forget(self, scope: Scope) -> None:
        """The pass over a database of a node begins again: its records so far count no more."""
