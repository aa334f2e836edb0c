"""Expiries that a source did not tell in one moment: asked for again, alone, until it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .expiry import Expiries
from .read import MOMENT_TRIES, Apart, expiries_of, expiries_request

if TYPE_CHECKING:
    from .link import Link

#: Expiries that are asked for once more come so many at a time, and fewer at each try that was not one moment. The
#: request stays far below the 16 KB that a server reads at once.
MOMENT_KEYS = 50


def ask_expiries(
    link: Link, keys: Sequence[bytes], then: Callable[[Expiries], None], failed: Callable[[list], None]
) -> None:
    """Ask for the expiries of `keys`, encoded as arguments, by requests short enough to be executed in one go.

    `then` gets all of them; `failed` the replies where an error is among them, and where `then` raises TypeError.
    """
    _Asked(link, keys, then, failed).ask()


@dataclass
class _Asked:
    """What is known so far."""

    link: Link
    keys: Sequence[bytes]
    then: Callable[[Expiries], None]
    failed: Callable[[list], None]
    found: list[int] = field(default_factory=list)
    tries: int = 0

    def ask(self) -> None:
        """Ask for the next ones."""
        begin = len(self.found)
        chunk = self.keys[begin : begin + max(1, MOMENT_KEYS >> self.tries)]
        self.link.reader.ask(*expiries_request(self.link.clock, chunk), self._answered)

    def _answered(self, replies: list) -> None:
        try:
            count, strict = len(replies) - 2, self.tries < MOMENT_TRIES
            self.found += expiries_of(replies, self.link.clock, count, strict).settled()
            self.tries = 0
            if len(self.found) < len(self.keys):
                return self.ask()
            self.then(Expiries(self.found, 0, 0))
        except Apart:
            self.tries += 1
            self.ask()
        except TypeError:
            self.failed(replies)
