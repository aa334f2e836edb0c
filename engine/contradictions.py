"""Options that contradict each other, or that make no sense without another: each is a usage error."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from . import values
from .workers.errors import UsageError

#: Of each of these sets, one at most.
EXCLUSIVE = (("quiet", "info", "debug"), ("dbs", "db_map"), ("flush", "churn_only"), ("no_verify", "verify"))
#: What makes sense with --live only.
_OF_LIVE = ("live_only", "idle_timeout", "feed", "enable_notifications", "on_converged")

#: Each reads or writes a file of its own: a list that is written to is lost before it is read.
_FILES = ("keys_from", "diff_file", "put_aside", "log_file")


def check_together(command: str, given: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Options that contradict each other raise UsageError; `labels` has each as the user wrote it, by key."""
    for keys in EXCLUSIVE:
        both = [labels[key] for key in keys if given.get(key)]
        if len(both) > 1:
            raise UsageError(f"{both[0]} and {both[1]} exclude each other", hint="keep one")
    if _merges(given) and not given.get("merge_dbs"):
        raise UsageError(f"{labels['db_map']} puts two databases into one", hint="--merge-dbs allows it")
    if given.get("flush") and not given.get("yes"):
        raise UsageError(f"{labels['flush']} empties the database", hint="add --yes if that is meant")
    _check_filters(given, labels)
    if "ttl" in given and not (given.get("ttl_share") or given.get("churn")):
        raise UsageError(f"{labels['ttl']} needs --ttl-share: no key would get an expiry", hint="--ttl-share 25%")
    if isinstance(given.get("for"), str) != (command == "ping") and "for" in given:
        wanted = "replicate" if command == "ping" else values.ABOVE_0.wanted
        raise UsageError(f"{labels['for']}: must be {wanted}", hint=f"keyferry {command} --help lists the options")
    if command != "ping":
        _check_churn(given, labels)
    _check_live(given, labels)
    _check_trust(given, labels)
    _check_files(given, labels)


def _merges(given: Mapping[str, Any]) -> bool:
    """Whether two databases go into one."""
    targets = list((given.get("db_map") or {}).values())
    return len(set(targets)) < len(targets)


def _check_trust(given: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    if given.get("prune") and not (given.get("repair") or given.get("live")):
        raise UsageError(
            f"{labels['prune']} needs --repair or --live: nothing is removed without", hint="--repair --prune"
        )
    if given.get("prune") and _merges(given):
        raise UsageError(
            f"{labels['prune']} cannot mend two databases that go into one: what one does not have may be the other's",
            hint="give each a database of its own (--db-map)",
        )
    if given.get("prune") and given.get("limit") is not None and not given.get("keys_from"):
        raise UsageError(
            f"{labels['prune']} and {labels['limit']} exclude each other: no key of the target is looked for then",
            hint="choose keys by --match, --include, --exclude, --type, --slots, or name them by --keys-from",
        )
    if given.get("repair") and given.get("on_conflict") in ("skip", "fail"):
        raise UsageError(f"{labels['repair']} replaces keys, {labels['on_conflict']} forbids it", hint="keep one")
    for key in ("repair", "diff_file", "show_diffs", "on_converged"):
        if given.get(key) and given.get("no_verify"):
            raise UsageError(f"{labels[key]} needs a verification", hint=f"leave {labels['no_verify']} out")


def _check_files(given: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    for one, other in combinations([key for key in _FILES if given.get(key)], 2):
        if _is_one_file(given[one], given[other], reads=one == "keys_from"):
            raise UsageError(f"{labels[one]} and {labels[other]} name the same file", hint="give each one of its own")


def _is_one_file(one: str, other: str, reads: bool) -> bool:
    """Whether two paths lead to one file, there or not; of what is read, - is standard input.

    A terminal, a pipe or /dev/null takes what several have to say.
    """
    try:
        first, second = os.stat(0 if reads and one == "-" else one), os.stat(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
    return os.path.samestat(first, second) and stat.S_ISREG(first.st_mode)


def _check_churn(given: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    lonely = next((key for key in ("for", "ops", "churn_only") if given.get(key) and not given.get("churn")), None)
    if lonely:
        raise UsageError(f"{labels[lonely]} needs --churn", hint="--churn 1000 changes a thousand keys a second")
    if given.get("ops"):
        from .workers.churn import operations_for  # reads tables that the other commands do without
        from .workers.synth import DEFAULT_SHARES

        suited = operations_for(given.get("types") or DEFAULT_SHARES, given["ops"])
        idle = [name for name, _ in given["ops"] if name not in dict(suited)]
        if idle:
            raise UsageError(
                f"{labels['ops']}: {idle[0]} does nothing to the types of {labels.get('types', '--types')}",
                hint="set changes strings and counters, grow all others",
            )


def _check_live(given: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    if not given.get("live"):
        lonely = next((key for key in _OF_LIVE if given.get(key)), None)
        if lonely:
            raise UsageError(f"{labels[lonely]} needs --live", hint="--live follows the changes of the source")
        return
    if given.get("on_conflict", "replace") != "replace":
        raise UsageError(
            f"{labels['on_conflict']} and {labels['live']} exclude each other: a change replaces a key",
            hint="--require-empty refuses a target that holds keys",
        )
    named = next((key for key in ("limit", "keys_from") if given.get(key) is not None), None)
    if named:
        raise UsageError(
            f"{labels[named]} and {labels['live']} exclude each other: the changes are those of a database",
            hint="choose keys by --match, --include, --exclude, --type",
        )
    lives = next((key for key in ("min_ttl", "max_ttl") if given.get(key) is not None), None)
    if lives and given.get("no_ttl"):
        raise UsageError(
            f"{labels[lives]} and {labels['no_ttl']} exclude each other with {labels['live']}: which keys of the target"
            " are its copies, only their expiries could tell",
            hint="keep one",
        )
    if _merges(given):
        raise UsageError(
            f"{labels['live']} cannot follow two databases into one: what goes in one may live in the other",
            hint="give each a database of its own (--db-map)",
        )
    if given.get("enable_notifications") and given.get("feed") == "tracking":
        raise UsageError(f"{labels['enable_notifications']} and {labels['feed']} exclude each other", hint="keep one")


def _check_filters(given: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    if "keys_format" in given and "keys_from" not in given:
        raise UsageError(f"{labels['keys_format']} needs --keys-from: no file is read", hint="--keys-from FILE")
    dbs: Any = given.get("dbs") or given.get("db_map") or ()
    if "keys_from" in given and (dbs == "all" or len(dbs) > 1):
        several = labels["dbs" if given.get("dbs") else "db_map"]
        raise UsageError(
            f"{labels['keys_from']} names keys of one database, {several} chooses several",
            hint="one run for each database, with -n or a URI's /db",
        )
    if {"min_ttl", "max_ttl"} <= given.keys() and given["min_ttl"] > given["max_ttl"]:
        raise UsageError(f"no key passes both {labels['min_ttl']} and {labels['max_ttl']}", hint="the smaller is MIN")
