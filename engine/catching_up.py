"""Replicas that are read, waited for at the end of a live copy: they may be quiet only because they are behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .partitioners.replicas import Goal, Pair
from .signals import Signals
from .workers.errors import AccessError, NotConverged

#: They have so long.
WITHIN_S = 60.0
LOOK_S = 0.05


def catch_up(
    pairs: Sequence[Pair], signals: Signals, warn: Callable[[str], None], told: set[str], within_s: float = WITHIN_S
) -> int:
    """Wait until each replica has what its master has now; the ending signal that has come before that, or 0.

    Where a server does not tell, nobody knows: `warn` says so, once a cause, for which `told` remembers those that were
    said. Raises NotConverged for a replica that does not get there.
    """
    deadline = time.monotonic() + within_s
    try:
        goal = Goal(pairs)
        while (missing := goal.missing())[0] and not signals.seen():
            if time.monotonic() > deadline:
                raise NotConverged(missing[0], side="source", address=missing[1])
            signals.pause(LOOK_S)
    except AccessError as error:
        if str(error) not in told:
            told.add(str(error))
            warn(f"whether the replica has all that its master has is not known: {error}")
    return signals.seen()
