"""The connection that a source tells its changes on, by RESP3: replies come in their order, events between them.

    tracking        CLIENT TRACKING ON BCAST: names of keys, and nothing else; one NULL for a flush or a resync
    notifications   PSUBSCRIBE __keyspace@N__:*: names with their database; beside it tracking of a prefix that no key
                    has, which brings the NULL of a flush alone

An event is passed on before any reply that follows it: so a reply is a fence for the events before it.
"""

from __future__ import annotations

import secrets
import select
from collections.abc import Callable
from dataclasses import dataclass

import hiredis

from .conn import Connection, Lost
from .errors import AccessError
from .feed_task import NOTIFICATIONS, FeedSetup
from .handshake import Handshake, Step
from .policy import Action, rule_for
from .replies import Replies
from .resp import command
from .setup import Node

PING = command(b"PING")
#: A source that is full must not end the feed.
KEEP_US = Step((b"CLIENT", b"NO-EVICT", b"ON"), needed=False)
RESP3 = Step((b"HELLO", b"3"), needed=True)
#: No server has a database whose number is longer.
DB_DIGITS = 10


@dataclass
class Told:
    """Who is told of events: changed(db, names), where db None is any; flushed()."""

    changed: Callable[[int | None, list[bytes]], None]
    flushed: Callable[[], None]


class _RepliesAmongEvents(Replies):
    """Passes on the events, `told` of those that came at once, before any reply that came with them."""

    def __init__(self, told: Callable[[list], None]) -> None:
        super().__init__()
        self._told = told

    def _replies_among(self, new: list) -> list:
        events = [reply for reply in new if type(reply) is hiredis.PushNotification]
        if not events:
            return new
        self._told(events)
        return [reply for reply in new if type(reply) is not hiredis.PushNotification]


class FeedConnection(Connection):
    """Calls `told` for each event once `listen` was called; raises Lost like any connection."""

    def __init__(self, number: int, node: Node, setup: FeedSetup, poll: select.epoll, told: Told, turn: int) -> None:
        self.setup, self.told = setup, told
        self.listening = False
        self._heads: dict[bytes, int] = {}  # how channels begin, and the database that they are of
        name = node.endpoint.name_of(setup.job, "feed")
        super().__init__("source", number, node, setup.dbs[0] if len(setup.dbs) == 1 else 0, name, poll, (), turn)

    def _new_handshake(self, name: str) -> Handshake:
        return Handshake(self.side, self.node, self.db, name, (KEEP_US, RESP3))

    def listen(self, then: Callable[[], None]) -> None:
        """Ask for events, and call `then` when they are sure to come."""
        requests = [self._tracking()]
        if self.setup.mode == NOTIFICATIONS:
            requests.append(command(b"PSUBSCRIBE", *self.setup.channels))
        # What confirms a subscription is no reply: so PING's comes first, unless the subscription is refused.
        self.ask(b"".join([*requests, PING]), 2, lambda replies: self._asked(replies, then))

    def _asked(self, replies: list, then: Callable[[], None]) -> None:
        refused = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if refused is not None:
            rule = rule_for(refused)
            raise self._lost(rule.reason, rule.hint) if rule.action is Action.WAIT else Lost(self._refusal(refused))
        if self.setup.mode != NOTIFICATIONS:
            self.listening = True
        if not self.listening:
            raise self._lost("the subscription was not confirmed")
        then()

    def _refusal(self, reply: Exception) -> AccessError:
        what = "CLIENT TRACKING" if self.setup.mode != NOTIFICATIONS else "CLIENT TRACKING or PSUBSCRIBE"
        hint = rule_for(reply).hint or "ACL SETUSER … +client|tracking +psubscribe allchannels, or another --feed"
        return AccessError(f"{what} refused: {reply}", side="source", address=self.endpoint.address, hint=hint)

    def _tracking(self) -> bytes:
        prefix = self.setup.pattern.removesuffix(b"*")
        if self.setup.mode == NOTIFICATIONS:
            prefix = secrets.token_bytes(16)
        more = (b"PREFIX", prefix) if prefix else ()
        return command(b"CLIENT", b"TRACKING", b"ON", b"BCAST", *more)

    # ---- events ---------------------------------------------------------------------------------------------

    def _new_replies(self) -> Replies:
        return _RepliesAmongEvents(self._take)

    def _take(self, events: list) -> None:
        """Pass on what came at once, by database."""
        found: dict[int | None, list[bytes]] = {}
        channels = []
        for event in events:
            if event[0] == b"pmessage":
                channels.append(event[2])
            elif event[0] == b"invalidate":
                if event[1] is None:
                    self.told.flushed()
                else:
                    found.setdefault(None, []).extend(event[1])
            elif event[0] == b"psubscribe":
                self.listening = True
        for channel in channels:
            head, _, key = channel.partition(b"__:")
            db = self._heads.get(head)
            if db is None:
                number = head.removeprefix(b"__keyspace@")
                if not number.isdigit() or len(number) > DB_DIGITS:
                    continue  # published by somebody under such a name
                db = self._heads[head] = int(number)
            found.setdefault(db, []).append(key)
        for db, keys in found.items():
            self.told.changed(db, keys)
