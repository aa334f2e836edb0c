"""The pairs of servers that a copy is tried on, as marks for tests: `@pairs` gives a test the argument `kinds`."""

from __future__ import annotations

import pytest

from .binaries import KINDS

#: (source, target) where everything arrives: the same version, and from the older to the newer.
EQUAL = (
    *((kind, kind) for kind in KINDS),
    ("6.2", "7.0"),
    ("6.2", "8.2"),
    ("7.0", "8.2"),
    ("6.2", "9.1"),
    ("7.0", "9.1"),
)

#: (source, target) where some payloads are refused: all other pairs.
REFUSING = tuple((one, two) for one in KINDS for two in KINDS if (one, two) not in EQUAL)


def marked(chosen: tuple[tuple[str, str], ...]) -> pytest.MarkDecorator:
    """A mark that runs a test with `kinds` = (source kind, target kind) for each of the chosen pairs."""
    return pytest.mark.parametrize("kinds", chosen, ids=[f"{one}-to-{two}" for one, two in chosen])


pairs = marked(EQUAL)
refusing_pairs = marked(REFUSING)
