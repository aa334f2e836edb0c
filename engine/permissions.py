"""What the users of a run may do, found out before its first key; the table is `partitioners/rights.py`.

A right that is missing ends the run here, with the ACL rules that would grant it. Rights that a run can do without
become lines of the plan: "not checked: …". A user who may touch some keys only is told by keys that are there: where
none of those may be touched the run ends, otherwise those that are refused will be put aside, with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .partitioners import acl, rights
from .partitioners.acl import Answers
from .partitioners.control import Control, ReplyError
from .partitioners.rights import SOURCE, TARGET, Right, Uses
from .partitioners.server import Server
from .partitioners.topology import refuse_what_we_cannot_copy
from .trespass import OURS
from .workers.errors import AccessError, KeyferryError, RefusedError, StateError
from .workers.filters import Filters

#: Names that are there, of which so many are looked at, and so many SCANs for them at most.
SAMPLE_KEYS, SAMPLE_SCANS, SAMPLE_COUNT = 200, 20, 500


@dataclass
class Permissions:
    """What was found out on both sides."""

    unchecked: list[str] = field(default_factory=list)  # lines of the plan, without "not checked: "
    warnings: list[str] = field(default_factory=list)
    key_refused: dict[str, str] = field(default_factory=dict)  # sides that refused a key's name, with their words
    tried: int = 0  # commands of those by which keys are written and removed, sent to the targets in vain


def uses_of(
    options: Mapping[str, Any],
    sources: list[Server],
    targets: list[Server],
    dbs: tuple[int | None, int | None] = (None, None),
    writes: bool = True,
) -> Uses:
    """What a run with these options does; `dbs` are those of the addresses, `writes`: it is more than a comparison."""
    nodes = {SOURCE: sources, TARGET: targets}
    absolute = frozenset(side for side, found in nodes.items() if all(server.knows((7, 0)) for server in found))
    chosen, renamed = options["dbs"], options["db_map"] or {}
    selects = bool(any(dbs) or any(renamed) or any(renamed.values()) or (chosen and chosen != [0]))
    return Uses(options, absolute, selects, writes, replicas=any(one.master for one in sources))


def check(sides: list[tuple[Control, Server]], uses: Uses, may_write: bool) -> Permissions:
    """Raise AccessError for the first side that lacks a right. Nothing is read or changed by it.

    Unless we `may_write`, no write is tried at the target: its ACL is asked, if it answers.
    """
    found = Permissions()
    for control, server in sides:
        answers = ask(control, server, uses, may_write, found)
        if answers.needed:
            raise missing(control, answers, uses)
        found.unchecked += [f"{control.side}: {line}" for line in answers.unchecked]
        if not server.run_id and not any(refusal.right.command == "INFO" for refusal in answers.refused):
            found.unchecked.append(f"{control.side}: whether the same process answers all the time (no run_id in INFO)")
        if answers.key_refused:
            found.key_refused[control.side] = answers.key_refused
    found.unchecked = list(dict.fromkeys(found.unchecked))  # the nodes of a cluster say the same
    return found


def ask(control: Control, server: Server, uses: Uses, may_write: bool, found: Permissions) -> Answers:
    """What one server lets us do, by all that we may try there."""
    key = f"keyferry:{os.urandom(16).hex()}".encode()
    rows = rights.rights_of(uses, control.side, server)
    if may_write or control.side == SOURCE or not any(right.writes for right in rows):
        found.tried += sum(map(_is_counted, rows))
        return acl.ask(control, rows, key)
    answers, known = _ask_dry(control, rows, key)
    if not known:
        found.unchecked.append(
            f"{control.side}: whether we may write (ACL DRYRUN is not answered, and a dry run does not try)"
        )
    return answers


def _ask_dry(control: Control, rows: list[Right], key: bytes) -> tuple[Answers, bool]:
    """What a server lets us do, without a write; and whether it tells of writes, too."""
    answers = acl.ask(control, [right for right in rows if not right.writes], key)
    dry = acl.ask_dry(control, [right for right in rows if right.writes], key)
    if dry is None:
        return answers, False
    return Answers(answers.refused + dry.refused, answers.key_refused or dry.key_refused), True


def _is_counted(right: Right) -> bool:
    """Whether the target counts it with what our workers send (`trespass.py`)."""
    return right.side == TARGET and right.command.lower() in OURS


def missing(control: Control, answers: Answers, uses: Uses | None) -> AccessError:
    """The error that names the rights that are missing, and how to grant them, or how a copy can do without."""
    user = control.endpoint.user or "default"
    denied = [refusal.right for refusal in answers.needed if not refusal.absent]
    absent = [refusal.right for refusal in answers.needed if refusal.absent]
    texts, hints = [], []
    if denied:
        texts.append(f"permission refused: user {user} may not run {_names(denied)}")
        hints.append(f"ACL SETUSER {user} {rights.acl_rules(denied)}")
        if uses and uses.writes and not set(denied) & set(rights.rights_of(_unverified(uses), denied[0].side)):
            hints[-1] += ", or --no-verify"
    if absent:
        texts.append(f"the server has no {_names(absent)}")
        hints.append("commands that are renamed or taken away must be given back for the copy")
    return AccessError("; ".join(texts), side=control.side, address=control.endpoint.address, hint="; ".join(hints))


def _unverified(uses: Uses) -> Uses:
    return replace(uses, options={**uses.options, "no_verify": True})


def _names(found: list[Right]) -> str:
    return ", ".join(dict.fromkeys(right.command for right in found))


# ---- for ping ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Role:
    """Whether a server's user may do what a copy needs of one side."""

    side: str
    error: KeyferryError | None
    unchecked: list[str]
    fields: dict[str, object]  # for programs


def role_of(control: Control, server: Server, side: str, options: Mapping[str, Any]) -> Role:
    """Try all that `replicate` with its defaults sends to that side, and whether it would have the server at all.

    Writes are tried only where the server does not tell of them without: a live copy that is under way to the same
    target would take each for a write of others (`trespass.py`).
    """
    uses = uses_of(options, [server], [server])
    rows = rights.rights_of(uses, side, server)
    key = f"keyferry:{os.urandom(16).hex()}".encode()
    answers, known = _ask_dry(control, rows, key) if side == TARGET else (Answers([]), False)
    if not known:
        answers = acl.ask(control, rows, key)
    lacking = [refusal.right for refusal in answers.needed]
    keys = "~*" if answers.key_refused else ""
    error = missing(control, answers, uses) if lacking else None
    if keys and not error:
        user = control.endpoint.user or "default"
        error = AccessError(f"permission refused: user {user} may not touch all keys", hint=f"ACL SETUSER {user} ~*")
    fields: dict[str, object] = {
        "role": side,
        "missing": [right.command for right in lacking],
        "all_keys": not keys,
        "acl": " ".join(filter(None, [rights.acl_rules(lacking), keys])),
        "not_checked": answers.unchecked,
    }
    if error:
        error = AccessError(error.message, side=side, address=control.endpoint.address, hint=error.hint)
    unfit = _unfit(server, side)
    if unfit:
        fields["refused"] = unfit.message
    return Role(side, unfit or error, answers.unchecked, fields)


def _unfit(server: Server, side: str) -> KeyferryError | None:
    """Why a copy would not have the server as that side, whoever asks. Of a cluster it finds the masters by itself."""
    if server.clustered:
        return None
    try:
        refuse_what_we_cannot_copy(replace(server, side=side))
    except (RefusedError, StateError) as error:
        return error
    return None


# ---- keys -------------------------------------------------------------------------------------------------------


def check_keys(
    sides: list[tuple[Control, Server]], uses: Uses, filters: Filters, dbs: list[int], found: Permissions
) -> None:
    """For sides that refused a key's name: look at names that are there. Raises AccessError where all are refused."""
    if not found.key_refused:
        return
    sources = [control for control, _ in sides if control.side == SOURCE]
    names = [] if uses.options["keys_from"] else [name for one in sources for name in sample(one, filters, dbs)]
    for control, server in sides:
        if control.side in found.key_refused:
            _check_names(control, server, uses, names, found)
    found.warnings = list(dict.fromkeys(found.warnings))


def _check_names(control: Control, server: Server, uses: Uses, names: list[bytes], found: Permissions) -> None:
    user = control.endpoint.user or "default"
    row = _cheapest(rights.rights_of(uses, control.side, server))
    refused = acl.refused_keys(control, row, names) if row else []
    found.tried += len(names) if row and _is_counted(row) else 0
    if refused and len(refused) == len(names):
        text = f"permission refused: user {user} may not touch the keys, by their names"
        hint = f"ACL SETUSER {user} ~*; or copy only what it may touch, by --match"
        raise AccessError(text, side=control.side, address=control.endpoint.address, hint=hint)
    if refused:
        share = f"{len(refused)} of the first {len(names)} are refused"
    elif names and (uses.options["match"] is not None or uses.options["include"]):
        return  # only what it may touch is asked for, as it seems
    else:
        share = "not those of every name"
    found.warnings.append(f"{control.side}'s user {user} may not touch all keys ({share}): the others are put aside")


def _cheapest(rows: list[Right]) -> Right | None:
    """The probe that costs little on a key that is there, however large; None where the run sends no such command."""
    wanted = ("PEXPIRETIME", "PTTL", "EXISTS", "RESTORE")
    return next((right for name in wanted for right in rows if right.command == name), None)


def sample(control: Control, filters: Filters, dbs: list[int]) -> list[bytes]:
    """Some names of keys that are to be copied."""
    found: list[bytes] = []
    for db in dbs:
        cursor: bytes | None = b"0" if control.select(db) == b"OK" and len(found) < SAMPLE_KEYS else None
        for _ in range(SAMPLE_SCANS):
            if cursor is None or len(found) >= SAMPLE_KEYS:
                break
            reply = control.call("SCAN", cursor, "COUNT", SAMPLE_COUNT, *filters.scan_words)
            if isinstance(reply, ReplyError):
                break
            cursor = reply[0] if reply[0] != b"0" else None
            found += filters.named(reply[1])
    return found[:SAMPLE_KEYS]
