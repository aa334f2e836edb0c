"""Why a run is slower than it could be: the one reason that is shown where workers tell different ones.

A worker tells `throttled: source 7.2 ms`, `reconnecting: source 10.0.0.5:6379`, or only what it waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

#: What a reason can begin with, the worst first: a server that is gone, one that refuses, one that is spared.
KINDS = ("reconnecting", "waiting", "throttled")
#: The state of a run that nothing holds up.
RUNNING = "running"


def split(text: str) -> tuple[str, str]:
    """A worker's reason as its kind and the rest; a text without a kind is something that it waits for."""
    if not text:
        return RUNNING, ""
    kind, colon, rest = text.partition(": ")
    return (kind, rest) if colon and kind in KINDS else ("waiting", text)


def most_important(texts: Iterable[str]) -> str:
    """The worst kind of reason; among equals the one that most workers tell; "" where none tells any."""
    told = Counter(text for text in texts if text)
    return min(told, key=lambda text: (KINDS.index(split(text)[0]), -told[text], text), default="")
