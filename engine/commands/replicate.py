"""`keyferry replicate`: copy one server to another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .. import forkserver
from ..grammar import Invocation
from ..logs import Log
from ..output import say_result
from ..partitioners.cluster import count_slots
from ..signals import Signals
from ..text import plural, seconds_text, size_text
from ..undofile import EMPTY

if TYPE_CHECKING:
    from ..partitioners.server import Server
    from ..plans import Plan
    from ..summary import Summary
    from ..workers.setup import Setup


def run(call: Invocation, log: Log) -> int:
    """Copy, or show the plan; the exit code. Raises KeyferryError after the closing table of what was done."""
    if not call.options["dry_run"]:
        forkserver.begin()
    from ..copying import Copy  # a good part of what there is: it is loaded while the fork server gets ready

    signals = Signals()
    copy = Copy(call, log, signals)
    copy.began_cpu_s = 0.0
    if call.options["dry_run"]:
        plan = copy.plan()
        say_result(json.dumps(plan_fields(plan)) if call.options["json"] else "\n".join(plan_lines(plan)))
        return 0
    try:
        with signals:
            return copy.run().exit_code
    finally:
        if copy.summary:
            say_result(result(copy.summary, call.options["json"], call.options["quiet"]))


def result(summary: Summary, as_json: bool, quiet: bool | None = False) -> str:
    """The closing table, with -q no more than the verdict; or one JSON object."""
    if as_json:
        return json.dumps(summary.fields())
    return summary.short_text() if quiet else summary.text()


def plan_lines(plan: Plan) -> list[str]:
    """What --dry-run prints."""
    from ..planning import RDBCOMPRESSION  # loaded by now, with all that a plan is made by

    found, setup = plan.survey, plan.setup
    lines = [f"{server.side:<9} {_server(server)}" for server in found.sources + found.targets]
    for part in plan.databases:
        size = f"{plural(part.keys, 'key')}, {part.expiring:,} with an expiry, {part.how}"
        at = f"{found.sources[part.node].endpoint.address}: " if len(found.sources) > 1 else ""
        lines.append(f"db {part.db} → {part.target_db}".ljust(9) + f" {at}{size}")
    per = "a node" if len(found.sources + found.targets) > 2 else "a side"
    each = f"{plural(plan.workers, 'worker')} of {plan.lanes} to {setup.most_lanes} lanes"
    lines += [
        f"workers   {each}; at most {plan.connections} connections {per}",
        f"method    {setup.method}; at most {setup.batch_keys:,} keys a window; SCAN COUNT {setup.scan_count:,}",
        *[f"limits    {'; '.join(texts)}" for texts in [plan.limits.texts()] if texts],
        f"estimate  {size_text(plan.value_bytes)}, {seconds_text(plan.seconds)} (a rule of thumb)",
    ]
    if plan.feed:
        lines.insert(-1, f"live      changes by {plan.feed}")
    if plan.filter_lines:
        lines[-1] += ", before filtering"
        lines += [f"filter    {line}" for line in plan.filter_lines]
    for number, wanted in plan.changes:
        at = f"source {found.sources[number].endpoint.address} " if len(found.sources) > 1 else "source "
        now = (found.rdbcompression if wanted.setting == RDBCOMPRESSION else found.flags)[number] or EMPTY
        lines.append(f"setting   {at}{wanted.setting} {wanted.value} for the time of the run; it is {now} now")
    if chosen := _choices(setup):
        lines.append(f"keys      {'; '.join(chosen)}")
    lines += [f"warning   {warning}" for warning in plan.warnings]
    lines += [f"not checked: {line}" for line in found.permissions.unchecked]
    lines.append("nothing was written: this was a dry run")
    return lines


def _server(server: Server) -> str:
    slots = f", {count_slots(server.slots):,} slots" if server.slots else ""
    return f"{server.endpoint.address}  {server.name}  {server.mode} {server.role}{slots}{_lag(server)}"


def _lag(server: Server) -> str:
    """What is to be known of a replica that is read."""
    if server.master is None or server.standing is None:
        return ""
    behind = "behind" if server.lag_bytes < 0 else f"{server.lag_bytes:,} bytes behind"
    return f", {behind} {server.master.address}" + ("" if server.standing.link_up else ", whose link is down")


def _choices(setup: Setup) -> list[str]:
    """What the user has chosen of how keys are read and written, where it is not the usual way."""
    existing = {"skip": "those that exist are skipped", "fail": "the first that exists ends the run"}
    chosen = [existing[setup.on_conflict]] if setup.on_conflict in existing else []
    if setup.atomic:
        chosen.append("read in transactions")
    if not setup.clock.wanted:
        chosen.append("written without expiry")
    return chosen


def plan_fields(plan: Plan) -> dict[str, object]:
    """The plan for programs."""
    found, setup = plan.survey, plan.setup
    nodes = [
        {
            "side": server.side,
            "address": server.endpoint.address,
            "product": server.product,
            "version": server.version,
            "mode": server.mode,
            "role": server.role,
            "slots": [list(one) for one in server.slots],
            "master": server.master.address if server.master else None,
            "lag_bytes": server.lag_bytes if server.lag_bytes >= 0 else None,
        }
        for server in found.sources + found.targets
    ]
    databases = [
        {
            "source": found.sources[part.node].endpoint.address,
            "source_db": part.db,
            "target_db": part.target_db,
            "keys": part.keys,
            "expiring": part.expiring,
            "target_keys": part.target_keys,
            "ranges": len(part.cuts),
            "how": part.how,
        }
        for part in plan.databases
    ]
    return {
        "nodes": nodes,
        "databases": databases,
        "keys": plan.keys,
        "workers": plan.workers,
        "lanes": plan.lanes,
        "most_lanes": setup.most_lanes,
        "connections_a_side": plan.connections,
        "method": setup.method,
        "batch_keys": setup.batch_keys,
        "scan_count": setup.scan_count,
        "rate_keys_per_second": plan.limits.keys_a_second,
        "bandwidth_bytes_per_second": plan.limits.bytes_a_second,
        "max_source_latency_ms": None if plan.limits.slower_s is None else 1000 * plan.limits.slower_s,
        "feed": plan.feed,
        "on_conflict": setup.on_conflict,
        "atomic": setup.atomic,
        "no_ttl": not setup.clock.wanted,
        "filters": plan.filter_lines,
        "estimated_before_filtering": bool(plan.filter_lines),
        "estimated_bytes": plan.value_bytes,
        "estimated_seconds": round(plan.seconds, 1),
        "clock_shift_ms": found.shift_ms,
        "source_settings": {wanted.setting: wanted.value for _, wanted in plan.changes},
        "warnings": plan.warnings,
        "not_checked": found.permissions.unchecked,
    }
