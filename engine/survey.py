"""Finding out, before the first key: who answers, what they hold, and whether we may do what we are asked."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from . import undo
from .filtering import filters_of, questions
from .logs import Log
from .partitioners import topology
from .partitioners.control import Control
from .partitioners.probe import MIN_KEYS, why_not_a_ring
from .partitioners.topology import Server
from .planning import RDBCOMPRESSION, Plan, Survey, choose_databases
from .text import plural
from .workers.endpoint import Endpoint
from .workers.errors import AccessError, ChangedError, UnreachedError

#: A server that does not answer is tried again after so long.
CONNECT_PAUSE_S = 0.5
COLUMNS = 80


@dataclass
class Controls:
    """The control connections of a run, one a server."""

    source: Control
    target: Control

    def close(self) -> None:
        """Give both back."""
        self.source.close()
        self.target.close()


def reach(
    endpoint: Endpoint, side: str, wait_for_s: float, patient: bool, log: Log, may_change: bool
) -> tuple[Control, Server]:
    """A control connection to a server that serves, and what it is. Raises AccessError, StateError.

    Settings that killed runs have left there are put back, or told of by those who may change nothing.

    A server that loads its data is waited for. One that does not answer at all is waited for only by the `patient`,
    who said --wait-for: mistyped addresses are more frequent than servers that are just being started.
    """
    control = _connect(endpoint, side, wait_for_s if patient else 0.0, log)
    topology.wait_until_it_serves(control, wait_for_s, log.notice)
    server = topology.describe(control)
    undo.tell(undo.left_behind(control, server.run_id, may_change), log)
    return control, server


def _connect(endpoint: Endpoint, side: str, wait_for_s: float, log: Log) -> Control:
    deadline = time.monotonic() + wait_for_s
    said = False
    while True:
        control = Control(endpoint, side)
        try:
            control.open()
            return control
        except UnreachedError as error:
            control.close()
            if time.monotonic() >= deadline:
                raise
            if not said:
                log.notice(f"waiting: {error}")
                said = True
            time.sleep(CONNECT_PAUSE_S)


def survey(
    source_at: Endpoint, target_at: Endpoint, options: dict[str, Any], patient: bool, log: Log, may_change: bool
) -> tuple[Controls, Survey, list[tuple[int, int]]]:
    """Both servers, their databases in question, and the pairs of them; only reads, but for what `reach` may do."""
    wait_for_s = options["wait_for"]
    source_control, source = reach(source_at, "source", wait_for_s, patient, log, may_change)
    target_control, target = reach(target_at, "target", wait_for_s, patient, log, may_change)
    for server in (source, target):
        topology.refuse_what_we_cannot_copy(server)
    pairs = choose_databases(options, source_at.db, target_at.db, sorted(source.databases))
    sizes, opaque = {}, {}
    for db, _ in pairs:
        sizes[db] = topology.database_size(source_control, db)
        if source.foreign:
            opaque[db] = f"{source.foreign} has its own cursors"
        elif sizes[db] >= MIN_KEYS and not (options["keys_from"] or options["limit"]):
            opaque[db] = why_not_a_ring(source_control, sizes[db])
    target_sizes = {db: topology.database_size(target_control, db) for db in sorted({db for _, db in pairs})}
    shift_ms = topology.clock_shift_ms(source_control, target_control)
    compression = topology.setting(source_control, RDBCOMPRESSION) if options["source_rdbcompression"] else ""
    filters = filters_of(options, source_control, source)
    job = secrets.token_hex(4)
    found = Survey(source, target, sizes, target_sizes, opaque, shift_ms, filters, job, compression)
    return Controls(source_control, target_control), found, pairs


def check_identities(plan: Plan, controls: Controls) -> None:
    """Raise ChangedError where a server is not the one any more that the plan was made for."""
    for control, node in ((controls.source, plan.setup.sources[0]), (controls.target, plan.setup.targets[0])):
        now = topology.identity(control)
        for name, then, found in zip(("run_id", "master_replid"), (node.run_id, node.replid), now):
            if then and found and then != found:
                text = f"its {name} is another than when the copy began (restarted, failed over or replaced)"
                raise ChangedError(text, side=control.side, address=control.endpoint.address)


def first_line(found: Survey, pairs: list[tuple[int, int]]) -> str:
    """Both sides as they were resolved, on one line, or on two where one is too long for a terminal."""
    keys = sum(found.sizes.values())
    sides = [
        f"{_who(server)} {_databases(dbs)} · {server.name} · {plural(count, 'key')}"
        for server, dbs, count in (
            (found.source, [db for db, _ in pairs], keys),
            (found.target, [db for _, db in pairs], sum(found.target_sizes.values())),
        )
    ]
    line = " → ".join(sides)
    return line if len(line) <= COLUMNS else "\n  → ".join(sides)


def _who(server: Server) -> str:
    user = server.endpoint.user
    return f"{user}@{server.endpoint.address}" if user else server.endpoint.address


def _databases(dbs: list[int]) -> str:
    return f"db {dbs[0]}" if len(dbs) == 1 else f"dbs {','.join(map(str, dbs))}" if dbs else "no db"


def check_rights(controls: Controls, found: Survey, options: dict[str, Any], may_write: bool) -> None:
    """Raise AccessError naming the commands that a side's user may not run. Nothing is read or changed by it.

    Reads ask for a key that nobody has. Writes are sent with arguments that the server refuses once it has let the
    command through: a payload that is none, an odd number of words, an expiry that is no number.
    """
    key = f"keyferry:{secrets.token_hex(16)}"
    expiry = "PEXPIRETIME" if found.source.knows((7, 0)) else "PTTL"
    reads: dict[str, tuple[str | bytes | int, ...]] = {
        "SCAN": ("SCAN", 0, "COUNT", 1),
        "DUMP": ("DUMP", key),
        expiry: (expiry, key),
    } | questions(options, key)
    writes: dict[str, tuple[str | bytes | int, ...]] = {"RESTORE": ("RESTORE", key, 0, "none")}
    if options["method"] != "dump":
        reads |= {"MGET": ("MGET", key), "GET": ("GET", key)}
        writes |= {"MSET": ("MSET", key, "value", key), "SET": ("SET", key, "value", "PXAT", "never")}
    if options["atomic"]:
        reads |= {"MULTI": ("MULTI",), "EXEC": ("EXEC",)}
    if options["on_conflict"] != "replace":
        writes |= {"EXISTS": ("EXISTS", key), "GET": ("GET", key), "DUMP": ("DUMP", key), "PTTL": ("PTTL", key)}
    sides = [(controls.source, reads)] + ([(controls.target, writes)] if may_write else [])
    for control, probes in sides:
        missing = topology.missing_commands(control, probes)
        if missing:
            rules = " ".join(f"+{name.lower()}" for name in missing)
            raise AccessError(
                f"permission refused: the user may not run {', '.join(missing)}",
                side=control.side,
                address=control.endpoint.address,
                hint=f"ACL SETUSER … {rules}",
            )
