"""Which servers restore what others dump, by their versions.

A payload of DUMP ends with the version of its format. A server refuses formats newer than its own; Valkey 9, whose
format is one of its own, also those that Redis has had since it went another way. So most keys of a newer server do not
reach an older one by DUMP and RESTORE, and it is known before the first one is tried.
"""

from __future__ import annotations

from collections.abc import Sequence

from .server import Server

#: The version of the format that a server writes, from a version of the server on (rdb.h of the servers).
_FORMATS = {
    "Redis": (((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((5, 0), 9)),
    "Valkey": (((9, 0), 80), ((7, 2), 11)),
}
#: Formats of Redis that Valkey does not take for its own past.
_FOREIGN_TO_VALKEY = range(12, 80)


def format_of(server: Server) -> int:
    """The version of the payloads that a server dumps; 0 where it is not known."""
    if server.foreign or not server.version_numbers:
        return 0
    known = _FORMATS.get(server.product, ())
    return next((version for since, version in known if server.version_numbers >= since), 0)


def restores(target: Server, source: Server) -> bool:
    """Whether the target takes what the source dumps, as far as their versions tell."""
    ours, theirs = format_of(source), format_of(target)
    if not (ours and theirs):
        return True
    foreign = target.product == "Valkey" and ours in _FOREIGN_TO_VALKEY
    return ours <= theirs and not foreign


def warnings_of_payloads(sources: Sequence[Server], targets: Sequence[Server], method: str) -> list[str]:
    """What the user should know before the first key is put aside; `method` is as --method has it."""
    pairs = [(source, target) for source in sources for target in targets if not restores(target, source)]
    if not pairs:
        return []
    source, target = pairs[0]
    what = "keys" if method == "dump" else "keys that are no strings"
    reason = f"{target.name} does not restore what {source.name} dumps (format {format_of(source)})"
    return [f"{what} will be put aside: {reason}"]
