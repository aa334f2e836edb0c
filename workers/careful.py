"""A careful window: every key on its own, so that each has its own outcome.

Used where the fast way cannot tell which key was the cause: something was refused, or a value is over the target's
limit.

    GET (or DUMP) + expiry ─→ DUMP + expiry of what is no string ─→ SET or RESTORE ─→ one outcome a key

WHAT HAPPENS IF a key closes the connection: a server hangs up on a reply over its client-output-buffer-limit, or on
a request over its client-query-buffer-limit, without a word about the key. Its window would be sent for ever, and take
its neighbours along. So a window that was under way at two losses is a suspect: it waits until every window of the link
that is no suspect is settled (`suspects.py`), then its keys are tried one at a time, with nothing else under way. A
key that loses the connection three times in a row is the cause; bad weather does not hit one key so often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from .batch import single
from .conflict import exists, leave_or_refuse
from .finding import ONLY_SOURCE, Finding
from .look import look
from .news import Aside, Counts
from .policy import Action, Gone, Rule, first_error, rule_for
from .read import MOMENT_TRIES, Apart, Method, Read, expiries_of, expiry_commands, values_request
from .redirects import Errand, asking
from .resp import OK, argument
from .router import Sink
from .scope import Scope
from .walk import Walks
from .write import are_large

if TYPE_CHECKING:
    from .conn import Request
    from .link import Link

#: A window that was under way at so many losses of a connection is tried key by key, alone.
LOSSES_TO_SUSPECT = 2
#: A key that was alone under way at so many losses is their cause.
LOSSES_OF_A_KEY = 3


class Careful:
    """Copies `keys` one by one and calls settled(self)."""

    def __init__(
        self,
        link: Link,
        keys: list[bytes],
        strings_first: bool,
        settled: Callable[[Careful], None],
        alone: bool = False,
        scope: Scope | None = None,
    ) -> None:
        self.link, self.keys, self.strings_first, self.settled = link, keys, strings_first, settled
        self.scope = scope  # what values have to pass by themselves
        self.alone = alone  # nothing else is under way on the link, and keys are tried one at a time
        self.losses = 0  # of a connection: under this window, or alone, under the key that is being tried
        self.counts = Counts()
        self.asides: list[Aside] = []
        self.gone: list[bytes] = []
        self.findings: list[Finding] = []
        self.strings = 0
        self.largest = 0
        self._again: list[bytes] = []  # keys that meet a state that passes
        self._trouble: tuple[str, int, Exception] | None = None
        self._pending = 0
        self._todo: list[tuple[Method, list[bytes]]] = []
        self._tries = 0

    def start(self) -> None:
        """Read every key that has no outcome yet, or alone, the next one."""
        keys = self.keys[:1] if self.alone else self.keys
        self._todo = [(Method.GET if self.strings_first else Method.DUMP, keys)]
        self._read_on([])

    # ---- reading --------------------------------------------------------------------------------------------

    def _read_on(self, found: list[Read]) -> None:
        """Read what is still to be read, then write."""
        if self._todo:
            self._read(*self._todo.pop(), found)
        else:
            self._write(found)

    def _read(self, method: Method, keys: list[bytes], found: list[Read]) -> None:
        odd: list[bytes] = []
        apart: list[bytes] = []
        left = len(keys)

        def answered(key: bytes, arg: bytes, replies: list) -> None:
            nonlocal left
            try:
                self._one(method, key, arg, replies, found, odd)
            except Apart:
                apart.append(key)
            left -= 1
            if left:
                return
            self._tries += bool(apart)
            self._todo += [(how, some) for how, some in ((Method.DUMP, odd), (method, apart)) if some]
            self._read_on(found)

        for key in keys:
            # Each key has a TIME of its own beside its expiry: a long request is not executed in one moment.
            arg = argument(key)
            commands = [(values_request(method, [arg])[0], True), *expiry_commands(self.link.clock, arg)]
            Errand(self.link, commands, partial(answered, key, arg), moment=self.link.atomic).start()

    def _one(self, method: Method, key: bytes, arg: bytes, replies: list, found: list[Read], odd: list[bytes]) -> None:
        value, *when = replies
        error = first_error(replies)
        if error is not None:
            if rule_for(error).action is Action.OTHER_METHOD and method is Method.GET:
                odd.append(key)
            else:
                self._failed("source", 0, key, error, "unknown", 0)
            return
        (instant,) = expiries_of(when, self.link.clock, 1, strict=self._tries < MOMENT_TRIES).instants()
        if value is None or instant is None:
            self._count("expired")
            self.gone.append(key)
        elif self.scope and not self.scope.takes(value, instant, method is Method.DUMP):
            self._count("skipped")
            self.gone.append(key)
        elif len(value) > self.link.max_value_bytes:
            read = Read(key, arg, value, instant, method is Method.DUMP)
            self._put_aside(key, read.type, len(read.value), "over the target's proto-max-bulk-len")
        else:
            found.append(Read(key, arg, value, instant, method is Method.DUMP))

    # ---- writing --------------------------------------------------------------------------------------------

    def _write(self, found: list[Read]) -> None:
        writes = []
        for read in found:
            build = self.link.writes.payloads if read.is_payload else self.link.writes.strings
            for sink, batch in self.link.router.split(single((read.encoded, read.value, read.instant))):
                writes.append((read, sink, *build(batch, are_large(len(read.value), 1))))
        self._pending = len(writes)
        if not writes:
            return self._done()
        for read, sink, request, count in writes:
            sink.write(request, count, partial(self._written, read, sink, request))

    def _written(self, read: Read, sink: Sink, request: Request, replies: list) -> None:
        node = sink.node
        if replies == [OK]:
            self._copied(read)
        elif there := self.link.asked(node, replies[0]):
            then = partial(self._written, read, there, request)
            return there.write(asking(request), 2, lambda got: then(got[1:]))
        elif self.link.keeps_existing and exists(replies[0]):
            return self._compare(read, node)
        else:
            self._failed("target", node, read.key, replies[0], read.type, len(read.value))
        self._one_less()

    def _compare(self, read: Read, node: int) -> None:
        """The key exists at the target: written by us before, or by somebody else."""
        told = lambda key, found: self._met(read, node, found)  # noqa: E731

        def lost(side: str, node: int, error: Exception) -> None:
            self._failed(side, node, read.key, error, read.type, len(read.value))
            self._one_less()

        lens = replace(self.link.lens_of(read.key), quick=False, named=False)
        Walks(self.link, [read.key], lambda key: look(key, lens), told, lambda: None, self.alone, lost).start()

    def _met(self, read: Read, node: int, found: Finding | bool) -> None:
        if found is True:
            self._copied(read)
        elif not found or found.kind == ONLY_SOURCE:  # one of the two is gone by now
            self._again.append(read.key)
        else:
            leave_or_refuse(self.link, node, read.key)
            self._count("skipped")
        self._one_less()

    def _copied(self, read: Read) -> None:
        self._count("copied", len(read.value))
        self.strings += not read.is_payload

    def _one_less(self) -> None:
        self._pending -= 1
        if not self._pending:
            self._done()

    # ---- outcomes -------------------------------------------------------------------------------------------

    def _count(self, outcome: str, size: int = 0) -> None:
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
        self.counts.bytes += size

    def _put_aside(self, key: bytes, kind: str, size: int, reason: str) -> None:
        self._count("aside")
        self.asides.append(Aside(key, self.link.db, kind, size, reason))

    def _failed(self, side: str, node: int, key: bytes, error: object, kind: str, size: int) -> None:
        rule: Rule = rule_for(error)
        if rule.action in (Action.PUT_ASIDE, Action.OTHER_METHOD) or not isinstance(error, Exception):
            self._put_aside(key, kind, size, f"{side}: {error}")
        else:
            if side == "target":
                self.link.learn(node, error)
            self._again.append(key)
            self._trouble = (side, node, error)

    def _done(self) -> None:
        if not self._again:
            self.losses = 0
            self.keys = self.keys[1:] if self.alone else []
            return self.start() if self.keys else self.settled(self)
        self.counts.retried += 1
        if not self.alone:
            self.keys = self._again
        self._again = []
        if self._trouble is None:  # keys that were in the way are gone by now
            return self.start()
        side, node, error = self._trouble
        self._trouble = None
        again = self.start
        if isinstance(error, Gone):
            self.losses += 1
            again = self._after_a_loss
        self.link.trouble(side, node, error, again)

    def _after_a_loss(self) -> None:
        """The link has new connections: think twice before they are lost as well."""
        if not self.alone and self.losses >= LOSSES_TO_SUSPECT:
            self.alone, self.losses = True, 0
            return self.link.suspects.add(self.start)
        if self.alone and self.losses >= LOSSES_OF_A_KEY:
            self._put_aside(self.keys[0], "unknown", 0, "the connection is closed whenever this key is copied")
            return self._done()
        self.start()
