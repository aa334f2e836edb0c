"""What an error reply means for the copy: one table, read from top to bottom, first match wins.

A reply that nobody foresaw concerns a key, not the run: the key is put aside with the server's own words, the
others go on, and the run ends with exit code 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache


class Gone(Exception):
    """The reply that never came, because the connection was lost first."""

    def __str__(self) -> str:
        return "(connection lost)"


class Action(Enum):
    """What is done about an error reply."""

    WAIT = "wait"  # the server is in a state that may pass: the same again, later
    REDIRECT = "redirect"  # another node owns the key
    SPLIT = "split"  # keys of the slot are at two nodes: one by one
    OTHER_METHOD = "other method"  # this command cannot read that type
    PUT_ASIDE = "put aside"  # this key cannot be copied; the others can
    STOP = "stop"  # no key can be copied like this


@dataclass(frozen=True)
class Rule:
    """Replies that match `pattern` (from their first character) get `action`; `reason` is what users read."""

    pattern: str
    action: Action
    reason: str = ""
    hint: str = ""


RULES = (
    Rule(r"\(connection lost\)", Action.WAIT, "connection lost"),
    # States that pass. Each is what the server says about itself, whatever the key.
    Rule("LOADING", Action.WAIT, "loading its data set"),
    Rule("BUSY ", Action.WAIT, "busy running a script", "SCRIPT KILL or FUNCTION KILL ends the script"),
    Rule("OOM", Action.WAIT, "out of memory", "raise maxmemory at the target, or free memory there"),
    Rule("READONLY", Action.WAIT, "read only", "name the master, not its replica"),
    Rule("MISCONF", Action.WAIT, "not writing because its own persistence fails", "see the server's log"),
    Rule("NOREPLICAS", Action.WAIT, "waiting for its replicas", "see min-replicas-to-write at the target"),
    Rule("MASTERDOWN", Action.WAIT, "a replica without its master"),
    Rule("CLUSTERDOWN", Action.WAIT, "its cluster is down"),
    # Another node.
    Rule("MOVED", Action.REDIRECT, "moving slots"),
    Rule("ASK |TRYAGAIN", Action.SPLIT, "moving slots"),
    # Rights. A missing command concerns all keys, a key pattern only some.
    Rule("NOPERM.*(command|subcommand)", Action.STOP, "permission refused", "see the ACL of the user"),
    Rule("NOPERM", Action.PUT_ASIDE, "permission refused for this key"),
    Rule("NOAUTH|WRONGPASS|ERR invalid password|ERR AUTH", Action.STOP, "login refused", "see -a, --user, --pass-file"),
    Rule("-?DENIED", Action.STOP, "refused by protected mode", "set a password at the server, or bind it to loopback"),
    Rule("ERR max number of clients", Action.STOP, "no free connection", "raise maxclients, or use fewer --workers"),
    # The data.
    Rule("WRONGTYPE", Action.OTHER_METHOD, "not a string"),
    Rule("ERR DUMP payload", Action.PUT_ASIDE, "the target does not read this DUMP version"),
    Rule("ERR Bad data format", Action.PUT_ASIDE, "the target does not know this type or encoding"),
    Rule("BUSYKEY", Action.PUT_ASIDE, "the key exists at the target"),
    # The wire.
    Rule("ERR unknown (command|subcommand)|ERR Unknown subcommand", Action.STOP, "a command is missing"),
    # This one is about a value, and the server hangs up. Where its settings are hidden, nothing else tells the limit.
    Rule("ERR Protocol error: invalid bulk length", Action.PUT_ASIDE, "over the server's proto-max-bulk-len"),
    Rule("ERR Protocol error", Action.STOP, "the request was not understood"),
    Rule(
        "ERR (DB index is out of range|invalid DB|SELECT is not allowed)",
        Action.STOP,
        "no such database",
        "see -n, --dbs and --db-map",
    ),
    # Anything else is about the key.
    Rule("", Action.PUT_ASIDE, "refused"),
)

#: What a transaction says that was refused at its very end, before the reason.
_DISCARDED = "EXECABORT Transaction discarded because of: "


def rule_for(reply: object) -> Rule:
    """The rule for an error reply (an exception object of hiredis, or its text)."""
    return _rule_of(str(reply).removeprefix(_DISCARDED))


@lru_cache(maxsize=256)
def _rule_of(text: str) -> Rule:
    """Patterns are compiled with the first error, as most runs have none; most errors are one of a few texts."""
    return next(rule for rule in RULES if re.match(rule.pattern, text, re.DOTALL))


def login_reply(reply: object, password: str) -> str:
    """A server's answer to AUTH as it may be shown: servers without AUTH repeat the words that they were given."""
    text = str(reply).partition(", with args")[0]
    return re.sub(rf"(?<!\w){re.escape(password)}(?!\w)", "…", text)


def is_denied(reply: object) -> bool:
    """Whether the user may not run the command, or not touch the key."""
    return str(reply).removeprefix(_DISCARDED).startswith("NOPERM")


def first_error(replies: Sequence[object]) -> Exception | None:
    """The first error among replies, or None."""
    # Thousands of replies are of very few types: a look at these is quicker than one at each reply.
    if not any(issubclass(one, Exception) for one in set(map(type, replies))):
        return None
    return next(reply for reply in replies if isinstance(reply, Exception))
