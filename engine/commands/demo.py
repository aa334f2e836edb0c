"""`keyferry demo`: generate, copy and verify between two throw-away servers, to see how it goes.

It does by itself what a user would do by hand: the steps run through the code of `keyferry generate` and `keyferry
replicate`, which verifies what it has copied. Everything is gone afterwards, whatever ends the demo.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..copying import Copy
from ..embedded import Embedded
from ..generating import Generation
from ..grammar import Invocation, from_python
from ..logs import Log
from ..output import say_result
from ..signals import Ended, Signals
from ..text import plural

#: Expiries of the data: a part of the keys has one, and none ends while the demo runs.
TTL_SHARE, TTL = "25%", "1h-24h"


def run(call: Invocation, log: Log) -> int:
    """Run the demo and print its closing table; 0 when the servers are equal, else 1."""
    with Signals() as signals:
        demo = _Demo(call.options["keys"], log, signals)
        try:
            log.notice("1/3 starting two Valkey servers: in memory, on unix sockets of their own")
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
        if number := self.signals.seen():
            raise Ended(number)

    def run(self, source: Embedded, target: Embedded) -> int:
        """Generate, copy, verify; the exit code."""
        self.log.notice(f"2/3 keyferry generate: {plural(self.keys, 'key')} of all types, {TTL_SHARE} with an expiry")
        self._generate(source)
        self.stop()
        self.log.notice("3/3 keyferry replicate: copy, then compare every key on both sides")
        exit_code = self._copy(source, target)
        self.stop()
        return exit_code

    def _generate(self, source: Embedded) -> None:
        call = from_python("generate", [source.endpoint], keys=self.keys, ttl_share=TTL_SHARE, ttl=TTL)
        summary = Generation(call.servers[0], call.options, self.log, self.signals).run()
        self.table += summary.text().splitlines()

    def _copy(self, source: Embedded, target: Embedded) -> int:
        aside = str(target.folder / "put-aside.jsonl")
        call = from_python("replicate", [source.endpoint, target.endpoint], put_aside=aside)
        copy = Copy(call, self.log, self.signals)
        try:
            return copy.run().exit_code
        finally:
            if copy.summary:
                self.table += copy.summary.text().splitlines()
