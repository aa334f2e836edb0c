"""Expiries that a source did not tell in one moment: asked for again, alone, until it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    found: list[int] = []
    tries = 0

    def ask() -> None:
        chunk = keys[len(found) : len(found) + max(1, MOMENT_KEYS >> tries)]
        link.reader.ask(*expiries_request(link.clock, chunk), answered)

    def answered(replies: list) -> None:
        nonlocal tries
        try:
            count = len(replies) - 2
            found.extend(expiries_of(replies, link.clock, count, strict=tries < MOMENT_TRIES).settled())
            tries = 0
            if len(found) < len(keys):
                return ask()
            then(Expiries(found, 0, 0))
        except Apart:
            tries += 1
            ask()
        except TypeError:
            failed(replies)

    ask()
