"""The sieve: lets those keys pass that the filters want, and asks the source about them where names do not tell.

Keys are judged in the state in which they are found. A key that another client changes between this and the reading of
its value is copied as it then is, as with the TYPE of SCAN.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress

from .filters import EndsBetween, Filters, Question, Verdict, together
from .link import Link
from .news import Counts
from .policy import Action, rule_for
from .redirects import Errand, redirect_of
from .replies import Way
from .resp import argument, arguments

#: Keys that one request asks about: its replies are short, but a large --scan-count must not make them many.
KEYS_A_REQUEST = 1000

#: sifted(keys, counts): the keys that pass, and how many are skipped or gone.
Sifted = Callable[[list[bytes], Counts], None]


class Sieve:
    """Applies `filters` to keys of the link's database. `gone_pass`: those that are not there pass, to be looked at."""

    def __init__(self, link: Link, filters: Filters, gone_pass: bool = False) -> None:
        self.link, self.filters, self.gone_pass = link, filters, gone_pass
        self.questions = filters.questions(link.clock)

    def sift(self, keys: list[bytes], sifted: Sifted) -> None:
        """Call sifted(keys that pass, counts of the others), at once where nothing has to be asked."""
        named = self.filters.named(keys)
        counts = Counts(skipped=len(keys) - len(named))
        if not named or not self.questions:
            return sifted(named, counts)
        self._sift_some(named, [], counts, sifted)

    def _sift_some(self, keys: list[bytes], passed: list[bytes], counts: Counts, sifted: Sifted) -> None:
        """Judge the first of the keys, then the others; some have `passed` before."""
        part, rest = keys[:KEYS_A_REQUEST], keys[KEYS_A_REQUEST:]

        def judged(verdicts: list[Verdict]) -> None:
            if self.gone_pass:
                verdicts = [verdict is not False for verdict in verdicts]
            passed.extend(compress(part, verdicts))
            counts.expired += verdicts.count(None)
            counts.skipped += verdicts.count(False)
            if rest:
                self._sift_some(rest, passed, counts, sifted)
            else:
                sifted(passed, counts)

        self._ask(part, judged)

    def _ask(self, keys: list[bytes], judged: Callable[[list[Verdict]], None]) -> None:
        encoded = arguments(keys)
        requests = [question.request(encoded) for question in self.questions]
        counts = [count for _, count in requests]

        def answered(replies: list) -> None:
            error = _error_about_the_server(replies)
            if error is not None:
                return self.link.trouble("source", 0, error, lambda: self._ask(keys, judged))
            if self.link.from_cluster and any(map(redirect_of, replies)):
                return self._ask_each(keys, judged)
            columns, at = [], 0
            for question, count in zip(self.questions, counts):
                columns.append(question.verdicts(replies[at : at + count], len(keys)))
                at += count
            judged(together(columns))

        self.link.reader.ask(b"".join([request for request, _ in requests]), sum(counts), answered, Way.MARKED)

    def _ask_each(self, keys: list[bytes], judged: Callable[[list[Verdict]], None]) -> None:
        """Ask about each key by itself, wherever it lives: some have moved."""
        verdicts: dict[bytes, Verdict] = {}

        def ask(key: bytes) -> None:
            arg = argument(key)
            commands = [one for question in self.questions for one in question.commands(arg)]
            Errand(self.link, commands, lambda replies: answered(key, replies)).start()

        def answered(key: bytes, replies: list) -> None:
            error = _error_about_the_server(replies) or next(filter(redirect_of, replies), None)
            if error is not None:
                return self.link.trouble("source", 0, error, lambda: ask(key))
            columns, at = [], 0
            for question in self.questions:
                count = len(question.commands(argument(key)))
                columns.append(question.verdicts(replies[at : at + count], 1))
                at += count
            verdicts[key] = together(columns)[0]
            if len(verdicts) == len(set(keys)):
                judged([verdicts[key] for key in keys])

        for key in set(keys):
            ask(key)


def refused(question: Question, keys: list[bytes], replies: list) -> dict[bytes, Exception]:
    """The keys of which a side refuses to tell what a question asks; to the question itself, these pass."""
    found = {}
    first = isinstance(question, EndsBetween)  # there, TIME is before the keys
    for number, reply in enumerate(replies[first:]):
        if isinstance(reply, Exception) and rule_for(reply).action is not Action.OTHER_METHOD:
            found[keys[number % len(keys)]] = reply
    return found


def _error_about_the_server(replies: list) -> Exception | None:
    """The first error that does not concern a single key; STRLEN says WRONGTYPE of each key that is no string."""
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    others = [error for error in errors if not str(error).startswith("WRONGTYPE")]
    serious = (Action.WAIT, Action.STOP)
    return next((error for error in others if rule_for(error).action in serious), None)
