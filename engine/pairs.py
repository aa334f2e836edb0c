"""Pairs of databases, source and target: which ones the options ask for, and which would be unsafe to copy."""

from __future__ import annotations

from itertools import product
from typing import Any

from .partitioners.server import Server
from .plans import Survey
from .text import plural
from .workers.errors import RefusedError, UsageError


def choose_databases(
    options: dict[str, Any], source_db: int | None, target_db: int | None, held: set[int]
) -> list[tuple[int, int]]:
    """The pairs (source db, target db) that the options ask for; `held` are the databases that hold keys."""
    chosen: list[int] | str | None = options["dbs"]
    mapped: dict[int, int] | None = options["db_map"]
    if chosen is None and mapped is None:
        return [(source_db or 0, target_db or 0)]
    if chosen == "all":
        names = sorted(held)
    elif chosen is not None:
        names = list(chosen)  # type: ignore[arg-type]
    else:
        names = list(mapped or {})
    pairs = [(db, (mapped or {}).get(db, db)) for db in names]
    targets = [target for _, target in pairs]
    twice = next((db for db in targets if targets.count(db) > 1), None)
    if twice is not None and not options["merge_dbs"]:
        raise UsageError(f"two databases would go into database {twice}", hint="--merge-dbs allows it")
    return pairs


def refuse_same_database(survey: Survey, pairs: list[tuple[int, int]]) -> None:
    """A database copied onto itself would be at best useless, and compared with itself is; raises RefusedError."""
    same = next((one for one in survey.sources for other in survey.targets if _are_one(one, other)), None)
    for db, target_db in pairs:
        if same and db == target_db:
            what = "cluster" if same.clustered else "database"
            raise RefusedError(
                f"source and target are the same {what}: {same.endpoint.address} db {db}",
                hint="name two servers, or two databases of one (-n)",
            )


def refuse_to_write_what_is_read(survey: Survey, pairs: list[tuple[int, int]]) -> None:
    """Raise RefusedError where databases are read while they, or the ones that they are replicas of, are written to.

    What a replica does not have yet would be undone at its master, and both would be called equal after it. And where
    pairs of databases of one server form a chain, keys of the first would go on into the last, or not, as time has it.
    """
    both = sorted({db for db, _ in pairs} & {target_db for _, target_db in pairs})
    for one, other in product(survey.sources, survey.targets) if both else ():
        if _are_one(one, other):
            raise RefusedError(
                f"db {both[0]} of {one.endpoint.address} would be read and written to at once",
                hint="copy one pair of databases at a time; SWAPDB exchanges two",
            )
        refuse_same_data(one, other)


def refuse_same_data(one: Server, other: Server) -> None:
    """Raise RefusedError for a server and its replica, or two replicas of one."""
    if one.replid and one.replid == other.replid:
        raise RefusedError(
            f"{one.endpoint.address} and {other.endpoint.address} hold the same data: one is a replica of the other, "
            "or both of a third",
            hint="name a target of its own",
        )


def _are_one(source: Server, target: Server) -> bool:
    if source.run_id:
        return source.run_id == target.run_id
    return source.endpoint.address == target.endpoint.address


def refuse_databases_that_are_not_there(target: Server, pairs: list[tuple[int, int]]) -> None:
    """A cluster has database 0, and more only by a setting of Valkey 9; raises RefusedError."""
    for db, target_db in pairs:
        if target.clustered and target_db >= max(1, target.max_databases):
            most = plural(max(1, target.max_databases), "database")
            raise RefusedError(
                f"it is a cluster with {most}, so db {db} cannot become db {target_db}",
                side="target",
                address=target.endpoint.address,
                hint=f"--db-map {db}:0 sends its keys to db 0",
            )


def refuse_keys_at_the_target(survey: Survey) -> None:
    """For those who want to be sure that they write into empty databases; raises RefusedError."""
    held = [f"db {db} holds {plural(keys, 'key')}" for db, keys in survey.target_sizes.items() if keys]
    if held:
        raise RefusedError(
            f"not empty: {', '.join(held)}",
            side="target",
            address=survey.targets[0].endpoint.address,
            hint="empty it, or leave --require-empty out: --on-conflict says what becomes of its keys",
        )
