"""Removes keys at the target that the source does not have any more, or, where that is not ours to do, finds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .link import Link
from .policy import Action, rule_for
from .read import each, exists_request
from .redirects import asking
from .resp import arguments
from .router import Sink

UNLINK = b"\r\n*2\r\n$6\r\nUNLINK"


class Removal:
    """Removes `keys` where it may, then calls done(left): those that are at the target still."""

    def __init__(self, link: Link, keys: list[bytes], may_remove: bool, done: Callable[[list[bytes]], None]) -> None:
        self.link, self.keys, self.may_remove, self.done = link, keys, may_remove, done
        self.left: list[bytes] = []
        self._pending = 0
        self._failed: tuple[int, Exception] | None = None

    def start(self) -> None:
        """Send the requests. Called again, it does everything again: nobody else writes these keys meanwhile."""
        self.left, self._failed = [], None
        parts = list(self.link.router.group(self.keys))
        self._pending = len(parts)
        for sink, keys in parts:
            sink.write(self._request(keys), len(keys), partial(self._told, sink, keys))

    def _request(self, keys: list[bytes]) -> bytes:
        encoded = arguments(keys)
        return each(UNLINK, encoded) if self.may_remove else exists_request(encoded)[0]

    def _ask_there(self, there: Sink, key: bytes) -> None:
        """Its slot is being moved, and the node that takes it in has the key, if any has."""
        self._pending += 1
        there.write(asking(self._request([key])), 2, lambda got: self._told(there, [key], got[1:]))

    def _told(self, sink: Sink, keys: list[bytes], replies: list) -> None:
        self.link.learn_all(sink.node, replies)
        for key, reply in zip(keys, replies):
            if not isinstance(reply, Exception):
                if reply and not self.may_remove:
                    self.left.append(key)
            elif there := self.link.asked(sink.node, reply):
                self._ask_there(there, key)
            elif rule_for(reply).action in (Action.WAIT, Action.STOP, Action.REDIRECT):
                self._failed = (sink.node, reply)
            else:
                self.left.append(key)
        self._pending -= 1
        if self._pending:
            return
        if self._failed is None:
            return self.done(self.left)
        node, error = self._failed
        self.link.trouble("target", node, error, self.start)
