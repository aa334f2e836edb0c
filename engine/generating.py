"""Writing a synthetic data set by the same workers that copy."""

from __future__ import annotations

import secrets
import time
from typing import Any

from .aside import AsideFile
from .coordinator import Coordinator
from .executors import LocalProcesses
from .forkserver import helpers_cpu_s
from .latency import Latencies
from .logs import Log
from .partitioners.control import Control, ReplyError
from .partitioners.topology import database_size, refuse_what_we_cannot_copy
from .progress import display
from .signals import Signals
from .summary import Summary
from .survey import reach
from .text import plural
from .workers.endpoint import Endpoint
from .workers.errors import EXIT_SIGNAL, UsageError
from .workers.expiry import time_ms
from .workers.synth import Spec, block_count
from .workers.task import GENERATE, Node, Setup, Task

#: Blocks that a worker has in hand as one task.
BLOCKS_A_TASK = 16
#: Tasks at a time: the target answers in order, so more would only wait.
LANES = 2
WAIT_FOR_S = 60.0


def generate(target: Endpoint, options: dict[str, Any], log: Log, signals: Signals) -> Summary:
    """Write the data set that the options describe. Raises KeyferryError."""
    latencies = Latencies([target])
    control, server = reach(target, "target", WAIT_FOR_S, False, log, may_change=True)
    try:
        refuse_what_we_cannot_copy(server)
        db = target.db or 0
        held = database_size(control, db)
        log.notice(f"{target.address} db {db} · {server.name} · {plural(held, 'key')}")
        spec = make_spec(options, control)
        if options["flush"]:
            flush(control)
            log.notice(f"db {db} was emptied of {plural(held, 'key')}")
    finally:
        control.close()
    node = Node(target, server.run_id, server.replid, server.knows((7, 2)), server.max_value_bytes)
    setup = Setup(
        sources=[],
        targets=[node],
        job=secrets.token_hex(4),
        lanes=LANES,
        measured=["target"] if target.latency else [],
        retry_for_s=options["retry_for"],
        synth=spec.pack(),
    )
    return _run(setup, latencies, tasks_of(spec, db), spec, options, log, signals)


def _run(
    setup: Setup,
    latencies: Latencies,
    tasks: list[Task],
    spec: Spec,
    options: dict[str, Any],
    log: Log,
    signals: Signals,
) -> Summary:
    began_at, began_cpu_s = time.monotonic(), time.process_time()
    workers = max(1, min(options["workers"], len(tasks)))
    shown = display(options["progress"], "generate", log, signals.status_asked)
    coordinator = Coordinator(
        setup,
        tasks,
        workers,
        LocalProcesses(),
        aside=AsideFile(""),
        say=log.notice,
        warn=log.warning,
        tick=shown.tick,
        signal_seen=signals.seen,
        measured=latencies.add,
        keys_total=spec.keys,
    )
    coordinator.state.total_known = True
    try:
        coordinator.run()
    finally:
        shown.close()
    summary = Summary(
        counts=coordinator.state.counts,
        seconds=time.monotonic() - began_at,
        workers=workers,
        cpu_s=coordinator.cpu_s + helpers_cpu_s() + time.process_time() - began_cpu_s,
        phase="generate",
        latency=latencies.rows(),
    )
    if coordinator.signal:
        summary.exit_code = EXIT_SIGNAL + coordinator.signal
    return summary


def make_spec(options: dict[str, Any], control: Control) -> Spec:
    """The data set's description; expiries count from --epoch, or from the server's own clock."""
    now = control.call("TIME")
    epoch_ms = options["epoch"] * 1000 if options["epoch"] is not None else time_ms(now)
    try:
        return Spec(
            keys=options["keys"],
            prefix=options["prefix"].encode(),
            shares=options["types"],
            size_min=options["size"][0],
            size_max=options["size"][1],
            elements_min=options["elements"][0],
            elements_max=options["elements"][1],
            ttl_share=options["ttl_share"],
            ttl_min_ms=round(options["ttl"][0] * 1000),
            ttl_max_ms=round(options["ttl"][1] * 1000),
            seed=options["seed"],
            epoch_ms=epoch_ms,
            binary=options["binary"],
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def flush(control: Control) -> None:
    """Empty the selected database; the user has said --flush --yes."""
    reply = control.call("FLUSHDB")
    if isinstance(reply, ReplyError):
        raise control.refused("FLUSHDB", reply)


def tasks_of(spec: Spec, db: int) -> list[Task]:
    """Runs of blocks."""
    blocks = block_count(spec)
    starts = range(0, blocks, BLOCKS_A_TASK)
    return [
        Task(j, GENERATE, target_db=db, start=start, end=min(start + BLOCKS_A_TASK, blocks))
        for j, start in enumerate(starts)
    ]
