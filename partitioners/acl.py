"""What a server's ACL lets our user do: the probes of `rights.py`, sent, and what the replies say.

HOW IT WORKS
A server says NOPERM before it looks at arguments, so the reply to a probe tells, on every version, and no right to look
at rights is needed. Where writes must not even be tried, ACL DRYRUN tells (7.0 and later, if it is allowed).

LIMITATIONS
Whether every key may be touched is seen by a name of our own, and then by some of the names that are there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..workers.policy import Action, rule_for
from .control import Control, ReplyError
from .rights import KEY, Right, Words

_KEY_REFUSED = re.compile(r"NOPERM.*\bkeys?\b", re.DOTALL)
_ABSENT = re.compile(r"ERR (unknown (sub)?command|unknown|Unknown subcommand)", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """A right that is not there, and the server's words."""

    right: Right
    reply: str

    @property
    def absent(self) -> bool:
        """The server has no such command: nobody may use it."""
        return bool(_ABSENT.match(self.reply))


@dataclass(frozen=True)
class Answers:
    """What a server lets us do: commands that are refused, and its words where it is the probe's key."""

    refused: list[Refusal]
    key_refused: str = ""

    @property
    def needed(self) -> list[Refusal]:
        """Those that the run cannot do without; what came with a version, and is not there, has nothing to do there."""
        found = [refusal for refusal in self.refused if not refusal.right.without]
        return [refusal for refusal in found if not (refusal.absent and any(refusal.right.since))]

    @property
    def unchecked(self) -> list[str]:
        """What is not known, or not done, because of the others; each with the commands that it would need."""
        found: dict[str, list[str]] = {}
        for refusal in self.refused:
            if refusal.right.without and not refusal.right.silent:
                found.setdefault(refusal.right.without, []).append(refusal.right.command)
        return [f"{what} ({', '.join(commands)} refused)" for what, commands in found.items()]


def ask(control: Control, rights: Sequence[Right], key: bytes) -> Answers:
    """Try each right, all in one round trip. Raises AccessError where the server is not reached."""
    replies = control.call_all([_named(right.words, key) for right in rights])
    return _answers(rights, replies)


def ask_dry(control: Control, rights: Sequence[Right], key: bytes) -> Answers | None:
    """The same by ACL DRYRUN, which executes nothing; None where the server does not tell."""
    who = control.call("ACL", "WHOAMI")
    if not isinstance(who, bytes):
        return None
    replies = control.call_all([("ACL", "DRYRUN", who, *_named(right.words, key)) for right in rights])
    if any(isinstance(reply, ReplyError) for reply in replies):
        return None
    said = [reply if reply == b"OK" else ReplyError("NOPERM " + _text(reply)) for reply in replies]
    return _answers(rights, said)


def _answers(rights: Sequence[Right], replies: Sequence[object]) -> Answers:
    refused, key_refused = [], ""
    for right, reply in zip(rights, replies, strict=True):
        if not isinstance(reply, ReplyError):
            continue
        text = str(reply)
        if _KEY_REFUSED.match(text) and rule_for(reply).action is not Action.STOP:
            key_refused = key_refused or text
        elif _is_refused(right, reply):
            refused.append(Refusal(right, text))
    return Answers(refused, key_refused)


def _is_refused(right: Right, reply: ReplyError) -> bool:
    """Whether an error reply to a probe, which is not about its key, says that we may not."""
    action = rule_for(reply).action
    if action is Action.PUT_ASIDE:  # "refused", in words of the server's own
        return not right.writes and not str(reply).startswith("ERR EXEC without MULTI")
    return action is Action.STOP


def refused_keys(control: Control, right: Right, keys: Sequence[bytes]) -> list[bytes]:
    """Which of these keys the user may not touch, by one command's probe on each."""
    replies = control.call_all([_named(right.words, key) for key in keys])
    return [key for key, reply in zip(keys, replies, strict=True) if _KEY_REFUSED.match(str(reply))]


def _named(words: Words, key: bytes) -> Words:
    return tuple(key if word == KEY else word for word in words)


def _text(reply: object) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
