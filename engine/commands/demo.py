"""`keyferry demo`: generate, copy and compare between two throw-away servers, to see how it goes.

It does by itself what a user would do by hand: the steps run through the code of `keyferry generate` and `keyferry
replicate`. The comparison is a sample, and says so. Everything is gone afterwards, whatever ends the demo.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..copying import Copy
from ..embedded import Embedded
from ..generating import Generation
from ..grammar import Invocation, from_python
from ..logs import Log
from ..output import say_result
from ..partitioners.control import Control, ReplyError
from ..partitioners.topology import database_size
from ..signals import Ended, Signals
from ..text import key_text, plural
from ..workers.errors import EXIT_INCOMPLETE, AccessError

#: So many keys are compared, or all where there are fewer.
SAMPLE = 1_000
#: RANDOMKEY returns keys again: after so many calls a key, the sample is what it is.
TRIES = 20
#: Expiries of the data: a part of the keys has one, and none ends while the demo runs.
TTL_SHARE, TTL = "25%", "1h-24h"
#: So many differences are listed.
SHOWN = 5


def run(call: Invocation, log: Log) -> int:
    """Run the demo and print its closing table; 0 when the servers are equal as far as they were compared, else 1."""
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
        if number := self.signals.seen():
            raise Ended(number)

    def run(self, source: Embedded, target: Embedded) -> int:
        """Generate, copy, compare; the exit code."""
        self.log.notice(f"2/4 keyferry generate: {plural(self.keys, 'key')} of all types, {TTL_SHARE} with an expiry")
        self._generate(source)
        self.stop()
        self.log.notice("3/4 keyferry replicate")
        exit_code = self._copy(source, target)
        self.stop()
        wanted = min(SAMPLE, self.keys)
        self.log.notice(f"4/4 comparing DBSIZE and {plural(wanted, 'random key')}: a sample, no full verification")
        equal = self._compare(source, target)
        return exit_code if equal else exit_code or EXIT_INCOMPLETE

    def _generate(self, source: Embedded) -> None:
        call = from_python("generate", [source.endpoint], keys=self.keys, ttl_share=TTL_SHARE, ttl=TTL)
        summary = Generation(call.servers[0], call.options, self.log, self.signals).run()
        self.table += summary.text().splitlines()

    def _copy(self, source: Embedded, target: Embedded) -> int:
        options: dict[str, Any] = {"no_verify": True, "put_aside": str(target.folder / "put-aside.jsonl")}
        call = from_python("replicate", [source.endpoint, target.endpoint], **options)
        copy = Copy(call, self.log, self.signals)
        try:
            return copy.run().exit_code
        finally:
            if copy.summary:
                copy.summary.verify_note = ": the demo compares a sample instead"
                self.table += copy.summary.text().splitlines()

    def _compare(self, source: Embedded, target: Embedded) -> bool:
        controls = Control(source.endpoint, "source"), Control(target.endpoint, "target")
        try:
            for control in controls:
                control.open()
            return self._compare_by(*controls)
        finally:
            for control in controls:
                control.close()

    def _compare_by(self, source: Control, target: Control) -> bool:
        sizes = database_size(source, 0), database_size(target, 0)
        kinds: Counter[str] = Counter()
        different = []
        for key in self._sample(source, sizes[0]):
            facts, copied = facts_of(source, key), facts_of(target, key)
            kinds[facts[0]] += 1
            if facts != copied:
                different += [f"  {key_text(key)}", f"    source {facts}", f"    target {copied}"]
            self.stop()
        same = kinds.total() - len(different) // 3
        self.table += [
            f"DBSIZE  {sizes[0]:>11,} keys at the source, {sizes[1]:,} at the target",
            f"sample  {kinds.total():>11,} keys: {same:,} equal by type, expiry, digest, stream groups",
            " " * 8 + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
            *different[: 3 * SHOWN],
        ]
        return sizes[0] == sizes[1] and not different

    def _sample(self, source: Control, keys: int) -> set[bytes]:
        """Distinct keys of the database, taken at random."""
        found: set[bytes] = set()
        for _ in range(TRIES * SAMPLE):
            if len(found) >= min(SAMPLE, keys):
                break
            found.add(_ask(source, "RANDOMKEY"))
            self.stop()
        return found


def facts_of(control: Control, key: bytes) -> tuple[str, int, str]:
    """Type, expiry in ms since 1970 (-1: never) and content of a key; a missing one has the type `none`.

    The content is the server's digest, which does not see a stream's consumer groups, and for streams these.
    """
    kind, (digest,) = _ask(control, "TYPE", key).decode(), _ask(control, "DEBUG", "DIGEST-VALUE", key)
    groups = f" groups {_ask(control, 'XINFO', 'GROUPS', key)}" if kind == "stream" else ""
    return kind, _ask(control, "PEXPIRETIME", key), digest.decode() + groups


def _ask(control: Control, *words: str | bytes) -> Any:
    reply = control.call(*words)
    if isinstance(reply, ReplyError):
        raise AccessError(f"{words[0]!s}: {reply}", side=control.side, address=control.endpoint.address)
    return reply
