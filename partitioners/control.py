"""The control connection: one command at a time, blocking, for the few things that are asked outside the copy.

The only file that knows redis-py. Error replies are returned as values, with the server's own words.
"""

from __future__ import annotations

import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..workers.endpoint import Endpoint
from ..workers.errors import AccessError
from ..workers.policy import Action, rule_for

#: redis-py's way to say that no library name is sent.
_QUIET: dict[str, Any] = {"driver_info": None}


class ReplyError(Exception):
    """An error reply, with its first word."""


class Control:
    """A connection to one server; `call` returns the reply, as bytes, int, list, None or ReplyError."""

    def __init__(self, endpoint: Endpoint, side: str) -> None:
        self.endpoint, self.side = endpoint, side
        self._db = 0
        settings: dict[str, Any] = {
            "protocol": 2,
            "socket_timeout": endpoint.timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            "decode_responses": False,
            **_QUIET,
        }
        if endpoint.socket:
            kind: Any = redis.UnixDomainSocketConnection
            settings |= {"path": endpoint.socket}
        else:
            kind = redis.Connection
            settings |= {"host": endpoint.host, "port": endpoint.port}
            settings |= {"socket_connect_timeout": endpoint.connect_timeout_s}
        self._conn: Any = kind(**settings)

    def open(self) -> None:
        """Connect and log in; raises AccessError."""
        try:
            self._conn.connect()
        except (redis.RedisError, OSError) as error:
            raise self._unreachable(error) from None
        self._log_in()
        self.call("CLIENT", "SETNAME", self.endpoint.client_name or "keyferry:control")
        self.call("CLIENT", "NO-EVICT", "ON")

    def call(self, *words: str | bytes | int) -> Any:
        """Send one command and wait for its reply; raises AccessError when the connection fails."""
        try:
            self._conn.send_command(*words, check_health=False)
            return self._conn.read_response(disconnect_on_error=True)
        except redis.ResponseError as error:
            return _with_first_word(error)
        except (redis.RedisError, OSError) as error:
            if getattr(error, "status_code", None):
                return _with_first_word(error)
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

    def close(self) -> None:
        """Give the connection back."""
        self._conn.disconnect()

    def refused(self, what: str, reply: object) -> AccessError:
        """The error for a reply that ends everything before it began."""
        rule = rule_for(reply)
        hint = rule.hint if rule.action is Action.STOP else ""
        return AccessError(f"{what}: {reply}", side=self.side, address=self.endpoint.address, hint=hint)

    def _log_in(self) -> None:
        where = self.endpoint
        if where.password:
            words = (where.user, where.password) if where.user else (where.password,)
            reply = self.call("AUTH", *words)
            if isinstance(reply, ReplyError):
                raise self.refused("login refused", reply)
        reply = self.call("PING")
        if isinstance(reply, ReplyError) and rule_for(reply).action is Action.STOP:
            raise self.refused("not logged in", reply)

    def _unreachable(self, error: Exception) -> AccessError:
        reason = _plain_reason(error)
        hint = "is a server listening there? (see -h, -p, -s, -u)"
        if "timed out" in reason.lower() or "timeout" in reason.lower():
            reason, hint = "no answer in time", "is the address right, and not behind a firewall? (see -o)"
        return AccessError(f"not reached: {reason}", side=self.side, address=self.endpoint.address, hint=hint)


def _with_first_word(error: Exception) -> ReplyError:
    code = getattr(error, "status_code", None)
    return ReplyError(f"{code} {error}" if code else str(error))


def _plain_reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    text = str(error)
    return text[text.index("connecting to") :].rstrip(".") if "connecting to" in text else text.rstrip(".")
