"""Passes of a run: where a server turns out to be another one than before, everything is found out anew."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .grammar import Invocation
from .logs import Log
from .plans import Survey
from .reaching import closed_on_error
from .reaching_side import Seeds, add_nodes
from .summary import Summary
from .survey import Controls, first_line, survey
from .workers.errors import AppearedError, ChangedError, RunError

#: A server that is another one at every look is not worth more passes than this.
PASSES_MAX = 10


def until_servers_stay(
    log: Log, attempt: Callable[[bool], Summary], what_then: Callable[[ChangedError], str]
) -> Summary:
    """The summary of the first attempt during which no server has changed.

    `attempt(again)` makes one; it raises ChangedError where one has. `what_then(changed)` says what the next one does,
    in words for the user, or raises RunError where there can be none. Raises RunError where servers change at each;
    databases that appear do not count, as there are only so many.
    """
    again, passes = False, 0
    while passes < PASSES_MAX:
        try:
            return attempt(again)
        except ChangedError as changed:
            log.warning(f"{changed}: {what_then(changed)}")
            again, last = True, changed
            passes += not isinstance(changed, AppearedError)
    raise RunError(f"{last.message}, {PASSES_MAX} times", side=last.side, address=last.address)


def find_out(
    call: Invocation,
    seeds: Seeds,
    options: dict[str, Any],
    log: Log,
    again: bool,
    may_change: bool,
    writes: bool = True,
    held: Collection[int] = (),
    compares: bool = False,
) -> tuple[Controls, Survey, list[tuple[int, int]]]:
    """As `survey`, of which the first line tells the user; `seeds` learn where else clusters are reached.

    Servers that have served before (`again`) are waited for like any lost connection.
    """
    patient = again or "wait_for" in call.explicit
    wait_for = {"wait_for": options["retry_for"]} if again else {}
    controls, found, pairs = survey(seeds, options | wait_for, patient, log, may_change, writes, held, compares)
    with closed_on_error(controls.all):
        for side, servers in zip(seeds, (found.sources, found.targets)):
            add_nodes(side, servers)
        for line in first_line(found, pairs).splitlines():
            log.notice(line)
    return controls, found, pairs


def least_pool(seeds: Seeds) -> int:
    """How many connections to a node both sides allow."""
    return min(side[0].pool for side in seeds if side[0].pool is not None)
