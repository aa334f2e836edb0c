"""The control connection: for the few things that are asked outside the copy, with errors that name side and server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..workers.dialog import Closed, Dialog, NotRedis, ReplyError
from ..workers.endpoint import Endpoint
from ..workers.errors import AccessError, UnreachedError
from ..workers.policy import Action, is_denied, login_reply, rule_for
from ..workers.tls import TlsError

__all__ = ["Control", "ReplyError", "hurried", "without_waiting"]

#: Who has others waiting for it waits for a server so long.
HURRY_S = 2.0

#: So much of a reply is shown that is of no use.
SHOWN = 60

#: What the parser says of an alert of TLS, whose first byte is 21.
_TLS_ALERT = 'got "\\x15"'


class Control:
    """A connection to one server; `call` returns the reply, as bytes, int, list, None or ReplyError."""

    def __init__(self, endpoint: Endpoint, side: str) -> None:
        self.endpoint, self.side = endpoint, side
        self._db = 0
        self._dialog: Dialog | None = None
        self._silent = False  # the connection that was lost last had brought no reply
        #: How long calls try: gets the control and what asks once, and returns the reply. None: they do not wait.
        self.patience: Callable[[Control, Callable[[], Any]], Any] | None = None

    def open(self) -> None:
        """Connect and log in; raises AccessError."""
        try:
            self._dialog = Dialog(self.endpoint)
        except OSError as error:
            raise self._unreachable(error) from None
        try:
            self._log_in()
            self._ask("CLIENT", "SETNAME", self.endpoint.client_name or "keyferry:control")
            self._ask("CLIENT", "NO-EVICT", "ON")
        except BaseException:
            self.close()
            raise

    def call(self, *words: str | bytes | int) -> Any:
        """Send one command and wait for its reply; raises AccessError when the server is not reached.

        Where the connection was lost it is opened again, once: it is idle for most of a copy. So what is sent here
        must do no harm when it is executed twice. `patience` may try for longer.
        """
        return self._patiently(lambda dialog: dialog.call(*words))

    def call_all(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """Like `call`, for some short commands that are sent together."""
        return self._patiently(lambda dialog: dialog.call_all(commands))

    def ask(self, *words: str | bytes | int) -> None:
        """Like `call`, but wait for nothing: `answer` brings the reply. A lost connection is opened in a hurry."""
        with hurried([self]):
            self._again_if_lost(lambda dialog: dialog.ask(*words))

    def answer(self, *words: str | bytes | int) -> Any:
        """The reply to `ask` with these words, once; None while it has not come. Raises AccessError when the
        connection is lost: whoever has asked has to ask again."""
        return self._try(lambda dialog: dialog.answer(*words)) if self._dialog else None

    def _patiently(self, what: Callable[[Dialog], Any]) -> Any:
        if self.patience is None:
            return self._again_if_lost(what)
        return self.patience(self, lambda: self._again_if_lost(what))

    def _again_if_lost(self, what: Callable[[Dialog], Any]) -> Any:
        try:
            return self._try(what)
        except AccessError:
            self.open()
            if self._db and isinstance(reply := self._ask("SELECT", self._db), ReplyError):
                self.close()  # or the next call would be about database 0
                raise self.refused(f"database {self._db}", reply) from None
            return self._try(what)

    def _ask(self, *words: str | bytes | int) -> Any:
        return self._try(lambda dialog: dialog.call(*words))

    def _try(self, what: Callable[[Dialog], Any]) -> Any:
        try:
            if self._dialog is None:
                raise ConnectionError("the connection was lost")
            return what(self._dialog)
        except (OSError, NotRedis) as error:
            self._silent = bool(self._dialog and not self._dialog.heard)
            self.close()
            raise self._unreachable(error) from None

    def select(self, db: int) -> Any:
        """Make `db` the one that commands are about; an error reply is returned."""
        reply = b"OK" if db == self._db else self.call("SELECT", db)
        if reply == b"OK":
            self._db = db
        return reply

    def round_trip_s(self) -> float:
        """How long a PING takes."""
        begin = time.perf_counter()
        self.call("PING")
        return time.perf_counter() - begin

    def set_endpoint(self, endpoint: Endpoint) -> None:
        """The same server, with another time-out from now on."""
        self.endpoint = endpoint
        if self._dialog:
            self._dialog.timeout_s = endpoint.timeout_s

    def close(self) -> None:
        """Give the connection back."""
        if self._dialog:
            self._dialog.close()
            self._dialog = None

    def refused(self, what: str, reply: object) -> AccessError:
        """The error for a reply that ends everything before it began."""
        rule = rule_for(reply)
        hint = rule.hint if rule.action is Action.STOP else ""
        return AccessError(f"{what}: {reply}", side=self.side, address=self.endpoint.address, hint=hint)

    def unexpected(self, what: str, reply: object) -> AccessError:
        """The error for a reply of a kind that no server gives to `what`."""
        shown = repr(reply)
        text = f"unexpected reply to {what}: {shown if len(shown) <= SHOWN else shown[:SHOWN] + '…'}"
        hint = "is that Redis, Valkey or a server like them?"
        return AccessError(text, side=self.side, address=self.endpoint.address, hint=hint)

    def _log_in(self) -> None:
        where = self.endpoint
        if where.password:
            words = (where.user, where.password) if where.user else (where.password,)
            reply = self._ask("AUTH", *words)
            if isinstance(reply, ReplyError):
                raise self.refused("login refused", ReplyError(login_reply(reply, where.password)))
        reply = self._ask("PING")
        # A user who may not PING is logged in, and is told of it together with what else is missing.
        if isinstance(reply, ReplyError) and rule_for(reply).action is Action.STOP and not is_denied(reply):
            raise self.refused("not logged in", reply)

    def _unreachable(self, error: Exception) -> AccessError:
        where = {"side": self.side, "address": self.endpoint.address}
        if isinstance(error, TlsError) and error.final:
            return AccessError(str(error), hint=error.hint, **where)
        reason, hint = _plain_reason(error), "is a server listening there? (see -h, -p, -s, -u)"
        if isinstance(error, TlsError):
            hint = error.hint
        elif isinstance(error, TimeoutError):
            reason, hint = "no answer in time", "is the address right, and not behind a firewall? (see -o)"
        elif self._may_want_tls(error):
            reason += ", before its first answer: TLS?"
            hint = "if that port speaks TLS: -t, or rediss:// instead of redis://"
        return UnreachedError(f"not reached: {reason}", hint=hint, **where)

    def _may_want_tls(self, error: Exception) -> bool:
        """A server that speaks TLS closes a plain connection, some with an alert, which is no reply of Redis."""
        if self.endpoint.tls or self.endpoint.socket or not self._silent:
            return False
        return isinstance(error, (ConnectionResetError, Closed)) or _TLS_ALERT in str(error)


@contextlib.contextmanager
def without_waiting(controls: Iterable[Control]) -> Iterator[None]:
    """Within `with`, none of these waits for its server: for loops that have to go on."""
    before = [(control, control.patience) for control in controls]
    for control, _ in before:
        control.patience = None
    try:
        yield
    finally:
        for control, patience in before:
            control.patience = patience


@contextlib.contextmanager
def hurried(controls: Iterable[Control]) -> Iterator[None]:
    """Inside, no connection and no reply is waited for longer than HURRY_S: a server that hangs must not hang us."""
    before = [(control, control.endpoint) for control in controls]
    for control, endpoint in before:
        control.set_endpoint(endpoint.within(HURRY_S))
    try:
        with without_waiting(control for control, _ in before):
            yield
    finally:
        for control, endpoint in before:
            control.set_endpoint(endpoint)


def _plain_reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".")
