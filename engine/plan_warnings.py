"""What the user should know before the first key is written, as far as the plan tells."""

from __future__ import annotations

from typing import Any

from .feed_choice import warnings_of_feed
from .partitioners.payloads import warnings_of_payloads
from .plans import Survey
from .text import plural

#: A difference of clocks that deserves a word.
SKEW_WARNING_MS = 1000
#: What becomes of keys that a target database holds already, by --on-conflict.
EXISTING = {
    "replace": "those copied are replaced",
    "skip": "they are left as they are",
    "fail": "one that is to be copied ends the run",
}
#: Policies under which a server throws keys away by itself.
EVICTING = ("allkeys", "volatile")


def warnings_of(survey: Survey, options: dict[str, Any], feed: str) -> list[str]:
    """All of them, a sentence each; `feed` is how changes are learned, with --live."""
    return [
        *survey.permissions.warnings,
        *_of_keys(survey, options["on_conflict"]),
        *_of_replicas(survey),
        *_of_room(survey),
        *_of_clocks(survey),
        *warnings_of_payloads(survey.sources, survey.targets, options["method"]),
        *_of_functions(survey),
        *_of_settings(survey, options),
        *warnings_of_feed(survey, feed),
    ]


def warnings_of_comparison(survey: Survey) -> list[str]:
    """Those that a comparison draws too: they are about what it is that is compared."""
    return [*_of_replicas(survey), *_of_clocks(survey)]


def _of_keys(survey: Survey, on_conflict: str) -> list[str]:
    held = [(target_db, keys) for target_db, keys in survey.target_sizes.items() if keys]
    return [f"target db {target_db} holds {plural(keys, 'key')}: {EXISTING[on_conflict]}" for target_db, keys in held]


def _of_replicas(survey: Survey) -> list[str]:
    lost = [one.endpoint.address for one in survey.sources if one.standing and not one.standing.link_up]
    return [f"{address} is a replica that has lost its master: what it holds may be old" for address in lost]


def _of_clocks(survey: Survey) -> list[str]:
    if abs(survey.shift_ms) < SKEW_WARNING_MS:
        return []
    ahead = "ahead of" if survey.shift_ms > 0 else "behind"
    seconds = f"{abs(survey.shift_ms) / 1000:.1f} s"
    return [f"target's clock is {seconds} {ahead} the source's: key expiries follow it"]


def _of_room(survey: Survey) -> list[str]:
    found = []
    for servers in (survey.sources, survey.targets):
        policies = {server.policy for server in servers if server.maxmemory and server.policy.startswith(EVICTING)}
        if policies:
            found.append(f"{servers[0].side} may evict keys: maxmemory-policy {', '.join(sorted(policies))}")
    room, used = (sum(server.maxmemory for server in survey.targets), sum(one.used_memory for one in survey.sources))
    if all(server.maxmemory for server in survey.targets) and room < used:
        found.append(f"target's maxmemory {room:,} bytes is below the source's used memory")
    few, many = survey.targets[0].max_databases, survey.sources[0].max_databases
    if 0 < few < many and not survey.targets[0].clustered:
        found.append(f"target has {plural(few, 'database')}, source {many}")
    return found


def _of_functions(survey: Survey) -> list[str]:
    """Each master of a cluster has all of them."""
    ours, theirs = max(one.libraries for one in survey.sources), min(one.libraries for one in survey.targets)
    if ours <= theirs:
        return []
    libraries = f"{ours:,} function librar{'y' if ours == 1 else 'ies'}"
    return [f"source has {libraries}, target {theirs:,}: functions are not copied"]


def _of_settings(survey: Survey, options: dict[str, Any]) -> list[str]:
    if not options["source_rdbcompression"] or all(survey.rdbcompression):
        return []
    return ["source does not tell its rdbcompression (CONFIG GET is refused): it stays as it is"]
