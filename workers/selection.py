"""The selection: which keys of the target the filters choose there, by what the target says of them.

A live copy may remove no others. A key that is gone at the source, or does not pass there, may never have passed: what
the target has under its name then was put there by somebody else, and is none of the run's. The keys that are chosen
are those that a comparison would look up at the source; of `any_size` where nobody else has put anything there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import compress

from .filters import Question, together
from .link import Link
from .policy import Action, rule_for
from .redirects import Errand, redirect_of
from .replies import Way
from .resp import argument, arguments
from .router import Sink
from .sieve import refused

Asked = tuple[Question, int]  # and how many replies it brings


class Selection:
    """Asks about `keys`, then calls done(those chosen, those of which the target refuses to tell)."""

    def __init__(
        self, link: Link, keys: list[bytes], done: Callable[[list[bytes], list[bytes]], None], any_size: bool = False
    ) -> None:
        self.link, self.keys, self.done, self.any_size = link, keys, done, any_size
        self.chosen: list[bytes] = []
        self.unknown: list[bytes] = []
        self._pending = 0
        self._failed: tuple[int, Exception] | None = None

    def start(self) -> None:
        """Send the requests. Called again, it asks everything again."""
        self.chosen, self.unknown, self._failed = [], [], None
        parts = list(self.link.router.group(self.keys))
        self._pending = len(parts)
        for sink, keys in parts:
            questions = self.link.asked_there(sink, self.any_size)
            requests = [question.request(arguments(keys)) for question in questions]
            request = b"".join([request for request, _ in requests])
            asked = [(question, count) for question, (_, count) in zip(questions, requests)]
            then = partial(self._told, sink, keys, asked)
            # Not by the sink: it counts what is sent as writes of ours.
            sink.conn.ask(request, sum([count for _, count in asked]), then, Way.MARKED)

    def _told(self, sink: Sink, keys: list[bytes], asked: list[Asked], replies: list) -> None:
        if self.link.to_cluster and any(map(redirect_of, replies)):
            self._pending += len(keys) - 1
            for key in keys:
                self._ask_wherever_it_is(sink, key, [question for question, _ in asked])
        else:
            self._judge(sink, keys, asked, replies)

    def _ask_wherever_it_is(self, sink: Sink, key: bytes, questions: list[Question]) -> None:
        """Its slot is being moved, or has moved."""
        each = [question.commands(argument(key)) for question in questions]
        asked = [(question, len(commands)) for question, commands in zip(questions, each)]
        commands = [one for some in each for one in some]
        Errand(self.link, commands, partial(self._judge, sink, [key], asked), lambda: sink.conn).start()

    def _judge(self, sink: Sink, keys: list[bytes], asked: list[Asked], replies: list) -> None:
        error = next((reply for reply in replies if _concerns_all(reply)), None)
        if error is not None:
            self._failed = (sink.node, error)
        else:
            columns, at = [], 0
            refusals: set[bytes] = set()
            for question, count in asked:
                told, at = replies[at : at + count], at + count
                columns.append(question.verdicts(told, len(keys)))
                refusals.update(refused(question, keys, told))
            passed = [verdict is True for verdict in together(columns)]
            self.chosen += [key for key in compress(keys, passed) if key not in refusals]
            self.unknown += [key for key in keys if key in refusals]
        self._pending -= 1
        if self._pending:
            return
        if self._failed is None:
            return self.done(self.chosen, self.unknown)
        node, error = self._failed
        self.link.trouble("target", node, error, self.start)


def _concerns_all(reply: object) -> bool:
    serious = (Action.WAIT, Action.STOP, Action.REDIRECT, Action.SPLIT)
    return isinstance(reply, Exception) and rule_for(reply).action in serious
