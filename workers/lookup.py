"""Windows of the reverse pass: keys of the target are looked up at the source.

LookUp   its link is turned round (`links.py`): keys come from the target, and the source is asked whether it has
         them. Where keys are filtered by type, expiry or size, the source is asked that: a key that passes at the
         target and not at the source is one that the copy would not have brought.
Recheck  looks again at those that the source seemed not to have: a key that has expired at the target meanwhile
         is no difference.
Prune    looks again as well, and removes those of which the source itself says, at that look, that it has them not.

WHAT MUST STAY TRUE: an error is no answer. A source that refuses to tell whether it has a key, or what it is, may have
it: such a key is unreadable, and stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

from .filters import Filters, Question, together
from .finding import ONLY_TARGET, UNREADABLE, Finding
from .look import look_for_extra
from .news import Aside, Counts
from .policy import Action, Gone, first_error, rule_for
from .read import exists_request
from .redirects import asking
from .resp import arguments, command
from .router import Sink
from .sieve import refused
from .walk import Walks

if TYPE_CHECKING:
    from .link import Link


class _Exists:
    """The question that is asked where no filter asks one."""

    def request(self, encoded: Any) -> tuple[bytes, int]:
        return exists_request(encoded)

    def commands(self, encoded: bytes) -> list[tuple[bytes, bool]]:
        return [(exists_request([encoded])[0], True)]

    def verdicts(self, replies: list, count: int) -> list[bool | None]:
        return [reply == 1 or None for reply in replies]


class LookUp:
    """Counts the keys that the source has, then settled(self); `findings` are the others."""

    def __init__(
        self,
        link: Link,
        keys: list[bytes],
        filters: Filters,
        settled: Callable[[Any], None],
        counted: bool = True,
    ) -> None:
        self.link, self.keys, self.settled, self.counted = link, keys, settled, counted
        self.questions: list[Question] = filters.questions(link.target_clock) or [_Exists()]
        self.counts = Counts()
        self.asides: list[Aside] = []
        self.findings: list[Finding] = []
        self.strings = 0
        self.largest = 0
        self.alone = False
        self._pending = 0

    def start(self) -> None:
        """Ask the source."""
        groups = self.link.router.group(self.keys)
        self._pending = len(groups)
        for sink, keys in groups:
            self._ask(sink, keys)

    def _ask(self, sink: Sink, keys: list[bytes]) -> None:
        encoded = arguments(keys)
        requests = [question.request(encoded) for question in self.questions]
        request = b"".join([request for request, _ in requests])
        sink.ask(request, sum([count for _, count in requests]), partial(self._answered, sink, keys, requests))

    def _answered(self, sink: Sink, keys: list[bytes], requests: list[tuple[bytes, int]], replies: list) -> None:
        error = next((reply for reply in replies if _concerns_all(reply)), None)
        if error is not None:
            self.counts.retried += 1
            self.link.learn_all(sink.node, replies)
            return self.link.trouble("target", sink.node, error, lambda: self._ask_again(keys))
        columns, at = [], 0
        for question, (_, count) in zip(self.questions, requests):
            columns.append(question.verdicts(replies[at : at + count], len(keys)))
            at += count
        refusals = self._refusals(keys, requests, replies)
        absent = [verdict is not True or key in refusals for key, verdict in zip(keys, together(columns))]
        self.findings += [self._finding(key, refusals.get(key)) for key in compress(keys, absent)]
        self.counts.copied += len(keys) - sum(absent)
        self._pending -= 1
        if not self._pending:
            self.counts.doubtful = len(self.findings)
            if not self.counted:
                self.counts = Counts(again=self.counts.read, retried=self.counts.retried)
            self.settled(self)

    def _refusals(self, keys: list[bytes], requests: list[tuple[bytes, int]], replies: list) -> dict[bytes, Exception]:
        """The keys of which the source refuses to tell, whatever it is asked; to filters, these pass."""
        found: dict[bytes, Exception] = {}
        if first_error(replies) is None:
            return found
        at = 0
        for question, (_, count) in zip(self.questions, requests):
            found |= refused(question, keys, replies[at : at + count])
            at += count
        return found

    def _finding(self, key: bytes, refusal: Exception | None) -> Finding:
        """A key that has not passed."""
        link = self.link
        kind, where = (UNREADABLE, f"source: {refusal}") if refusal else (ONLY_TARGET, "")
        return Finding(key, link.reader.number, link.target_db, link.db, kind, where=where, counted=self.counted)

    def _ask_again(self, keys: list[bytes]) -> None:
        """Slots may have moved meanwhile: each key is looked for where it belongs now."""
        groups = self.link.router.group(keys)
        self._pending += len(groups) - 1
        for sink, some in groups:
            self._ask(sink, some)


class Recheck:
    """Looks closely at keys that only the target seemed to have; then settled(self)."""

    def __init__(self, link: Link, keys: list[bytes], filters: Filters, settled: Callable[[Any], None]) -> None:
        self.link, self.keys, self.settled = link, keys, settled
        self.questions = filters.questions(link.clock)
        self.counts = Counts()
        self.asides: list[Aside] = []
        self.findings: list[Finding] = []
        self.strings = 0
        self.largest = 0
        self.alone = False

    def start(self) -> None:
        """Look at each."""
        lens_of = self.link.lens_of
        look = lambda key: look_for_extra(key, lens_of(key), self.questions)  # noqa: E731
        Walks(self.link, self.keys, look, self._told, self._done).start()

    def _told(self, key: bytes, result: Finding | bool) -> None:
        self.counts.doubtful += isinstance(result, Finding)
        self.counts.expired += result is False
        self.counts.copied += result is True
        if isinstance(result, Finding):
            self.findings.append(result)

    def _done(self) -> None:
        self.settled(self)


class Prune(Recheck):
    """Removes the keys that only the target has, each looked at right before; `counts.copied` are those removed.

    WHAT HAPPENS IF a removal was not executed, or nobody knows, as the connection was lost: time has passed by when it
    can be sent again, so the key is looked at again first. One that is gone then was removed by us, as far as can be
    told. One that the target refuses to remove is put aside.
    """

    def __init__(self, link: Link, keys: list[bytes], filters: Filters, settled: Callable[[Any], None]) -> None:
        super().__init__(link, keys, filters, settled)
        self._extra: list[Finding] = []  # seen now to be the target's only
        self._unanswered: set[bytes] = set()  # a removal was sent, and its reply is lost
        self._again: list[bytes] = []
        self._trouble: tuple[int, Exception] | None = None

    def _told(self, key: bytes, result: Finding | bool) -> None:
        if isinstance(result, Finding) and result.kind == ONLY_TARGET:
            self._extra.append(result)
        elif result is False and key in self._unanswered:
            self.counts.copied += 1
        else:
            self.counts.skipped += 1

    def _done(self) -> None:
        extra, self._extra = {finding.key: finding for finding in self._extra}, []
        groups = self.link.router.group(list(extra)) if extra else []
        self._pending = len(groups)
        if not groups:
            return self.settled(self)
        for sink, keys in groups:
            # One command a key: in a cluster they may be of different slots.
            request = b"".join([command(b"UNLINK", key) for key in keys])
            found = [extra[key] for key in keys]
            sink.write(request, len(keys), partial(self._removed, sink, found))

    def _removed(self, sink: Sink, found: list[Finding], replies: list) -> None:
        self.link.learn_all(sink.node, replies)
        for finding, reply in zip(found, replies):
            if not isinstance(reply, Exception):
                self._count(finding.key, removed=reply == 1)
            elif there := self.link.asked(sink.node, reply):
                self._remove_there(there, finding)
            elif _passes_by(reply):
                self._again.append(finding.key)
                self._trouble = sink.node, reply
                if isinstance(reply, Gone):
                    self._unanswered.add(finding.key)
            else:
                self.counts.aside += 1
                reason = f"target: {reply}"
                self.asides.append(Aside(finding.key, self.link.db, finding.target.type, 0, reason))
        self._pending -= 1
        if self._pending:
            return
        if self._trouble is None:
            return self.settled(self)
        (node, error), self._trouble = self._trouble, None
        self.link.trouble("target", node, error, self._look_again)

    def _remove_there(self, there: Sink, finding: Finding) -> None:
        """Its slot is being moved, and the node that takes it in has the key."""
        self._pending += 1
        there.write(asking(command(b"UNLINK", finding.key)), 2, lambda got: self._removed(there, [finding], got[1:]))

    def _count(self, key: bytes, removed: bool) -> None:
        # Nothing was left to remove where an earlier one, whose reply is lost, has been executed after the last look.
        if removed or key in self._unanswered:
            self.counts.copied += 1
        else:
            self.counts.expired += 1

    def _look_again(self) -> None:
        self.keys, self._again = self._again, []
        self.start()


def _concerns_all(reply: object) -> bool:
    return isinstance(reply, Exception) and rule_for(reply).action in (Action.WAIT, Action.STOP, Action.REDIRECT)


def _passes_by(error: Exception) -> bool:
    """Whether the removal may succeed later, or ends the run: an error that is not about this key."""
    return rule_for(error).action in (Action.WAIT, Action.STOP, Action.REDIRECT, Action.SPLIT)
