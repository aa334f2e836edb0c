"""`keyferry demo`: generate, copy live while a writer changes the source, and verify, between two throw-away servers.

It does by itself what a user would do by hand: the steps run through the code of `keyferry generate` and `keyferry
replicate`, which verifies what it has copied. Everything is gone afterwards, whatever ends the demo.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from ..copying import Copy
from ..embedded import Embedded
from ..generating import Generation
from ..grammar import Invocation, from_python
from ..logs import Log
from ..output import say_result
from ..signals import Reading, Signals
from ..text import plural
from ..writer import Writer

#: Expiries of the data: a part of the keys has one, and none ends while the demo runs.
TTL_SHARE, TTL = "25%", "1h-24h"
#: So many changes a second are made for so long; the copy is over when the source has been quiet for a second.
CHURN, CHURN_S, IDLE_MS = 2_000, 4, 1_000


def run(call: Invocation, log: Log) -> int:
    """Run the demo and print its closing table; 0 when the servers are equal, else 1."""
    with Signals() as signals:
        demo = _Demo(call.options["keys"], log, signals)
        try:
            log.notice("1/4 starting two Valkey servers: in memory, on unix sockets of their own")
            with Embedded("source", demo.stop) as source, Embedded("target", demo.stop) as target:
                exit_code = demo.run(source, target)
            log.notice("both servers are ended, and their folders removed")
            demo.stop()
        finally:
            if demo.table:
                say_result("\n".join(demo.table))
    return exit_code


@dataclass
class _Demo:
    """The steps; each adds its lines to the closing table."""

    keys: int
    log: Log
    signals: Signals
    table: list[str] = field(default_factory=list)

    def stop(self) -> None:
        """Raise Ended once a signal has come."""
        self.signals.obey()

    def run(self, source: Embedded, target: Embedded) -> int:
        """Generate, change, copy, verify; the exit code."""
        self.log.notice(f"2/4 keyferry generate: {plural(self.keys, 'key')} of all types, {TTL_SHARE} with an expiry")
        self._generate(source)
        self.stop()
        self.log.notice(f"3/4 keyferry generate --churn: {CHURN:,} changes a second for {CHURN_S} s, from now on")
        with Writer(self._changes(source), self.stop) as writer:
            self.log.notice("4/4 keyferry replicate --live: copy, follow the changes, compare every key")
            exit_code = self._copy(source, target, writer)
        self.stop()
        return exit_code

    def _changes(self, source: Embedded) -> list[str]:
        data = ["--keys", str(self.keys), "--ttl-share", TTL_SHARE, "--ttl", TTL]
        return ["-s", source.endpoint.socket, *data, "--churn", str(CHURN), "--for", f"{CHURN_S}s"]

    def _generate(self, source: Embedded) -> None:
        call = from_python("generate", [source.endpoint], keys=self.keys, ttl_share=TTL_SHARE, ttl=TTL)
        summary = Generation(call.servers[0], call.options, self.log, self.signals).run()
        self.table += summary.text().splitlines()

    def _copy(self, source: Embedded, target: Embedded, writer: Writer) -> int:
        aside = str(target.folder / "put-aside.jsonl")
        servers = [source.endpoint, target.endpoint]
        call = from_python("replicate", servers, put_aside=aside, live=True, idle_timeout=IDLE_MS / 1000)
        # To a live copy Ctrl-C means to cut over; in a demo it means to end, as SIGTERM does.
        copy = Copy(call, self.log, Reading(self.signals, lambda number: signal.SIGTERM))
        try:
            exit_code = copy.run().exit_code
            self.stop()
            self.table += writer.table()
            return exit_code
        finally:
            if copy.summary:
                self.table += copy.summary.text().splitlines()
