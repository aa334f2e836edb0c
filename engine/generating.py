"""Writing a synthetic data set, and changing it, by the same workers that copy."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from .churning import churn
from .ending import end_early
from .generate_permissions import check_generate
from .latency import Latencies
from .logs import Log
from .partitioners.control import Control, ReplyError
from .partitioners.server import Server
from .partitioners.topology import database_size, refuse_what_we_cannot_copy
from .producing import Produced, Producer
from .reaching import reach
from .signals import Signals
from .summary import Summary
from .text import plural
from .workers.endpoint import Endpoint
from .workers.errors import RefusedError, UsageError
from .workers.expiry import time_ms
from .workers.setup import Node, Setup
from .workers.synth import Spec, block_count
from .workers.task import GENERATE, Task

#: Blocks that a worker has in hand as one task, at most …
BLOCKS_A_TASK = 16
#: … and tasks that each worker gets at least, as far as blocks allow: one that is slow holds up less.
TASKS_A_WORKER = 4
#: … and tasks at most, each an object in the coordinator: those of an enormous data set are longer.
MOST_TASKS = 1 << 14
#: Tasks at a time: the target answers in order, so more would only wait.
LANES = 2
WAIT_FOR_S = 60.0


class Generation:
    """One run of `keyferry generate`; `summary` is there once the first phase is over, also after an error."""

    def __init__(self, target: Endpoint, options: dict[str, Any], log: Log, signals: Signals) -> None:
        self.target, self.options, self.log = target, options, log
        self.producer = Producer(options, log, signals, Latencies([target]))
        self.db = target.db or 0
        self.summary: Summary | None = None

    def run(self) -> Summary:
        """Write the data set, unless it is only to be changed, and change it if asked for. Raises KeyferryError."""
        with self.producer.signals.at_once():
            setup, spec = self._prepare()
        if not self.options["churn_only"]:
            self._write(setup, spec)
        if self.options["churn"] and not (self.summary and self.summary.exit_code):
            self._churn(setup, spec)
        assert self.summary is not None
        return self.summary

    def _prepare(self) -> tuple[Setup, Spec]:
        if self.target.seeds:
            text = "several -u are nodes of a cluster, and generate writes to single servers"
            raise UsageError(text, side="target", hint="keep one")
        spec = make_spec(self.options)
        control, server = reach(self.target, "target", WAIT_FOR_S, False, self.log, may_change=True)
        try:
            refuse_what_we_cannot_copy(server)
            refuse_cluster(server)
            check_generate(control, self.options, self.db)
            held = database_size(control, self.db)
            self.log.notice(f"{self.target.address} db {self.db} · {server.name} · {plural(held, 'key')}")
            if self.options["epoch"] is None:
                spec = replace(spec, epoch_ms=time_ms(control.call("TIME")))
            if self.options["flush"]:
                flush(control)
                self.log.notice(f"db {self.db} was emptied of {plural(held, 'key')}")
        finally:
            control.close()
        node = Node(self.target, server.run_id, server.replid, server.knows((7, 2)), server.max_value_bytes)
        setup = Setup(
            sources=[],
            targets=[node],
            job=os.urandom(4).hex(),
            lanes=LANES,
            measured=["target"] if self.target.latency else [],
            retry_for_s=self.options["retry_for"],
            synth=spec.pack(),
        )
        return setup, spec

    def _write(self, setup: Setup, spec: Spec) -> None:
        tasks = tasks_of(spec, self.db, self.options["workers"])
        workers = max(1, min(self.options["workers"], len(tasks)))
        done = self.producer.run("generate", setup, tasks, workers, spec.keys, "keys")
        self.summary = Summary(done.counts, done.seconds, workers, cpu_s=done.cpu_s, phase="generate")
        self._end(self.summary, done)

    def _churn(self, setup: Setup, spec: Spec) -> None:
        churned = churn(self.producer, setup, spec, self.db)
        self.summary = self.summary or Summary(phase="churn")
        self.summary.churn = churned
        self._end(self.summary, churned.done)

    def _end(self, summary: Summary, done: Produced) -> None:
        summary.exit_code = done.exit_code
        summary.latency = self.producer.latencies.rows()
        if done.failure:
            end_early(summary, done.failure, done.signal, self.log)


def refuse_cluster(server: Server) -> None:
    """A data set is written block by block, and a block has keys of all slots; raises RefusedError."""
    if server.clustered:
        raise RefusedError(
            "this is a node of a cluster, and generate writes to single servers",
            side="target",
            address=server.endpoint.address,
            hint="generate at a single server, then replicate to the cluster",
        )


def make_spec(options: dict[str, Any]) -> Spec:
    """The data set's description, but for the time that expiries count from without --epoch. Raises UsageError."""
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
            epoch_ms=(options["epoch"] or 0) * 1000,
            binary=options["binary"],
        )
    except ValueError as error:
        raise UsageError(str(error), hint="keyferry generate --help lists the options") from None


def flush(control: Control) -> None:
    """Empty the selected database; the user has said --flush --yes."""
    reply = control.call("FLUSHDB")
    if isinstance(reply, ReplyError):
        raise control.refused("FLUSHDB", reply)


def tasks_of(spec: Spec, db: int, workers: int) -> list[Task]:
    """Runs of blocks, short enough that each of the workers gets some, and not too many to be kept in memory."""
    blocks = block_count(spec)
    room = max(1, min(BLOCKS_A_TASK, blocks // (workers * TASKS_A_WORKER)), -(-blocks // MOST_TASKS))
    return [
        Task(number, GENERATE, target_db=db, start=start, end=min(start + room, blocks))
        for number, start in enumerate(range(0, blocks, room))
    ]
