"""The options that choose keys, as the workers' Filters, and how a plan tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .partitioners.cluster import range_text
from .partitioners.control import Control, ReplyError
from .partitioners.server import Server
from .text import key_text, seconds_text
from .workers.expiry import time_ms
from .workers.filters import Filters


def filters_of(options: Mapping[str, Any], control: Control, source: Server) -> Filters:
    """What the options ask for, and what of it SCAN does at this source. Reads TIME, and tries SCAN."""
    types, scans = options["type"] or [], not options["keys_from"]
    shortest_s, longest_s = options["min_ttl"], options["max_ttl"]
    now_ms = 0 if shortest_s is None and longest_s is None else time_ms(control.call("TIME"))
    return Filters(
        match=options["match"],
        include=options["include"] or [],
        exclude=options["exclude"] or [],
        types=types,
        ends_from_ms=None if shortest_s is None else now_ms + round(shortest_s * 1000),
        ends_until_ms=None if longest_s is None else now_ms + round(longest_s * 1000),
        max_bytes=options["max_size"],
        slots=options["slots"] or [],
        scan_match=scans and options["match"] is not None and _scan_matches(control, source, options["match"]),
        scan_type=scans and len(types) == 1 and _scan_takes(control, source, "TYPE", types[0]),
    )


def at_the_same_instants(filters: Filters, first: Filters | None) -> Filters:
    """The filters with the instants of the `first` pass: those of a run count from one instant."""
    if first is None:
        return filters
    return replace(filters, ends_from_ms=first.ends_from_ms, ends_until_ms=first.ends_until_ms)


def _scan_matches(control: Control, source: Server, glob: bytes) -> bool:
    """A cluster's node looks only into the slot of a glob's hash tag, wherever the scan begins: it is not asked to."""
    return not (source.mode == "cluster" and b"{" in glob) and _scan_takes(control, source, "MATCH", glob)


def _scan_takes(control: Control, source: Server, *words: str | bytes) -> bool:
    """Tried out: Redis before 6.0 does not know TYPE, Valkey refuses types of modules that it has not loaded.

    Servers that only speak the protocol have their own ideas of globs and types, and are not asked.
    """
    return not source.foreign and not isinstance(control.call("SCAN", 0, "COUNT", 1, *words), ReplyError)


def filter_lines(options: Mapping[str, Any], filters: Filters, some_slots: bool) -> list[str]:
    """Each filter as a plan shows it, with who applies it where that is not always the same.

    `some_slots`: only the slots asked for are scanned.
    """
    by_scan = {True: ", by SCAN", False: ""}
    lines = []
    if filters.match is not None:
        lines.append(f"--match {key_text(filters.match)}{by_scan[filters.scan_match]}")
    if filters.types:
        lines.append(f"--type {','.join(filters.types)}{by_scan[filters.scan_type]}")
    lines += [f"--include {key_text(glob)}" for glob in filters.include]
    lines += [f"--exclude {key_text(glob)}" for glob in filters.exclude]
    if filters.slots:
        how = ", by SCAN" if some_slots else ": the names of all keys are read for that"
        lines.append(f"--slots {','.join(map(range_text, filters.slots))}{how if not options['keys_from'] else ''}")
    if options["keys_from"]:
        lines.append(f"--keys-from {options['keys_from']}, {options['keys_format']}")
    for name in ("min_ttl", "max_ttl"):
        if options[name] is not None:
            lines.append(f"--{name.replace('_', '-')} {seconds_text(options[name])}, from now on")
    if filters.max_bytes is not None:
        lines.append(f"--max-size {filters.max_bytes:,} bytes")
    return lines + ([f"--limit {options['limit']:,} keys"] if options["limit"] is not None else [])
