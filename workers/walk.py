"""Walks: looks at single keys, each a generator that asks one side at a time; some at once over one link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .finding import UNREADABLE, Finding
from .policy import Action, Gone, first_error, rule_for
from .redirects import Errand, commands_of
from .structs.ask import SOURCE, Ask, Steps

if TYPE_CHECKING:
    from .link import Link

#: So many keys are looked at in one go: their round trips are shared, and their elements bound the memory.
AT_ONCE = 16
#: A key that was alone under way at so many losses of a connection is their cause.
LOSSES_OF_A_KEY = 3

Look = Callable[[bytes], Steps[Any]]
Told = Callable[[bytes, Any], None]


class Walks:
    """Looks at `keys`; told(key, what the look returns) for each, then done(). `alone`: one at a time.

    A state that passes is waited for, and the look begins again. But with `lost`, unless `alone`, a lost connection
    ends all looks: lost(side, node, error) is called in the place of done(), as any of the keys may be the cause.
    """

    def __init__(
        self,
        link: Link,
        keys: Sequence[bytes],
        look: Look,
        told: Told,
        done: Callable[[], None],
        alone: bool = False,
        lost: Callable[[str, int, Exception], None] | None = None,
    ) -> None:
        self.link, self.look, self.told, self.done, self.alone = link, look, told, done, alone
        self.lost = None if alone else lost
        self._left = list(reversed(keys))
        self._open = 0
        self.ended = False

    def start(self) -> None:
        """Begin."""
        most = 1 if self.alone else AT_ONCE
        while self._left and self._open < most:
            self._open += 1
            _Walk(self, self._left.pop()).start()
        if not (self._left or self._open or self.ended):
            self.ended = True
            self.done()

    def settle(self, key: bytes, result: Any) -> None:
        """One of the keys was looked at."""
        self.told(key, result)
        self._open -= 1
        self.start()


class _Walk:
    """One key."""

    def __init__(self, walks: Walks, key: bytes) -> None:
        self.walks, self.key, self.link = walks, key, walks.link
        self.losses = 0

    def start(self) -> None:
        if not self.walks.ended:
            self.steps = self.walks.look(self.key)
            self._go(None)

    def _go(self, replies: Any) -> None:
        try:
            asked = self.steps.send(replies)
        except StopIteration as end:
            return self.walks.settle(self.key, end.value)
        self._ask(asked)

    def _ask(self, asked: Ask) -> None:
        if asked.side == SOURCE:
            then, home = partial(self._answered, "source", 0), lambda: self.link.reader
        else:
            ((sink, _),) = self.link.router.group([self.key])
            then, home = partial(self._answered, "target", sink.node), lambda: sink.conn
        if self.link.by_slot:
            Errand(self.link, commands_of(asked.request), then, home).start()
        else:
            home().ask(asked.request, asked.count, then)

    def _answered(self, side: str, node: int, replies: list[Any]) -> None:
        if self.walks.ended:
            return
        error = first_error(replies)
        if error is None or rule_for(error).action not in (Action.WAIT, Action.REDIRECT, Action.SPLIT):
            return self._go(replies)
        if isinstance(error, Gone):
            if self.walks.lost:
                self.walks.ended = True
                return self.walks.lost(side, node, error)
            self.losses += 1
            if self.walks.alone and self.losses >= LOSSES_OF_A_KEY:
                reason = "the connection is closed whenever this key is read"
                link = self.link
                lost = Finding(self.key, link.reader.number, link.db, link.target_db, UNREADABLE, where=reason)
                return self.walks.settle(self.key, lost)
        self.link.trouble(side, node, error, self.start)
