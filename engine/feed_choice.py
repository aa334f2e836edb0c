"""How a live copy learns of changes: client tracking or keyspace notifications, and of which names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .partitioners.control import Control, ReplyError
from .plans import Survey
from .undo import Wanted
from .workers.errors import AccessError, RefusedError
from .workers.feed_task import NOTIFICATIONS, TRACKING, FeedSetup, enough_flags
from .workers.policy import is_denied
from .workers.setup import Setup

#: The setting that says which notifications a server sends.
FLAGS = "notify-keyspace-events"
#: A glob that is a prefix: tracking can be told so.
_PREFIX = re.compile(rb"[^*?\[\\\]]*\*", re.DOTALL)
#: The order in which servers tell the flags; A stands for those of `_ALL`.
_ALL, _ORDER = "g$lshzxetd", "AKEmnocr"


def flags_of(control: Control) -> str | None:
    """The notifications that a source sends; None where it does not tell."""
    reply = control.call("CONFIG", "GET", FLAGS)
    return reply[1].decode() if isinstance(reply, list) and len(reply) == 2 else None


def with_ours(flags: str) -> str:
    """The flags with those that we need, as servers tell them."""
    wanted = (set(flags) - set(_ALL)) | {"A", "K"}
    return "".join([flag for flag in _ORDER if flag in wanted]) + "".join(sorted(wanted - set(_ORDER)))


def choose(survey: Survey, dbs: list[int], options: dict[str, Any]) -> str:
    """TRACKING or NOTIFICATIONS. Raises RefusedError where notifications are needed and off."""
    wanted = options["feed"]
    silent = [number for number, flags in enumerate(survey.flags) if flags is not None and not enough_flags(flags)]
    off = silent[0] if silent else None
    if wanted == "auto" and not options["enable_notifications"]:
        others = {db for server in survey.sources for db in server.databases} - set(dbs)
        on = None not in survey.flags and off is None
        if len(dbs) == 1 and options["dbs"] != "all" and not (others and on):
            return TRACKING
    if wanted == TRACKING:
        return TRACKING
    if off is not None and not options["enable_notifications"]:
        flags = survey.flags[off] or ""
        shown = f"'{flags}'"
        raise RefusedError(
            f"changes of several databases are told by notifications only, and {FLAGS} is {shown}"
            if wanted == "auto"
            else f"notifications are off: {FLAGS} is {shown}",
            side="source",
            address=survey.sources[off].endpoint.address,
            hint=f"type CONFIG SET {FLAGS} {with_ours(flags)} there, or use --enable-notifications",
        )
    return NOTIFICATIONS


def refuse_silence(mode: str, controls: list[Control]) -> None:
    """Raise RefusedError where notifications are needed and, whatever was tried, are off."""
    for control in controls if mode == NOTIFICATIONS else ():
        flags = flags_of(control)
        if flags is not None and not enough_flags(flags):
            raise RefusedError(
                f"notifications could not be switched on: {FLAGS} is '{flags}'",
                side="source",
                address=control.endpoint.address,
                hint=f"CONFIG SET {FLAGS} {with_ours(flags)}, or --feed tracking",
            )


def refuse_deafness(setup: FeedSetup, controls: list[Control]) -> None:
    """Raise AccessError where we may not subscribe to the notifications that the feed needs: tried, and given up."""
    for control in controls if setup.mode == NOTIFICATIONS else ():
        # Who has subscribed can do nothing else: so on a connection of its own.
        trial = Control(control.endpoint, control.side)
        try:
            trial.open()
            reply = trial.call("PSUBSCRIBE", *setup.channels)
        finally:
            trial.close()
        if isinstance(reply, ReplyError) and is_denied(reply):
            user = control.endpoint.user or "default"
            by_channel = "channel" in str(reply)
            what = f"subscribe to {setup.channels[0].decode(errors='replace')}" if by_channel else "run PSUBSCRIBE"
            raise AccessError(
                f"permission refused: user {user} may not {what}",
                side=control.side,
                address=control.endpoint.address,
                hint=f"ACL SETUSER {user} {'allchannels' if by_channel else '+psubscribe'}",
            )


def will_switch(flags: list[str | None], options: Mapping[str, Any]) -> bool:
    """Whether --enable-notifications has anything to switch on, at sources that tell these flags."""
    silent = any(one is not None and not enough_flags(one) for one in flags)
    return bool(options["enable_notifications"] and options["feed"] != TRACKING and silent)


def flags_wanted(survey: Survey, mode: str, enables: bool) -> list[tuple[int, Wanted]]:
    """The settings that notifications need, by source node, if these are chosen.

    Also where they are on, and whether --enable-notifications `enables` them or not: it may be another run's doing,
    which ends before ours.
    """
    if mode != NOTIFICATIONS:
        return []
    return [
        (number, Wanted(server.run_id, FLAGS, flags if enough_flags(flags) else with_ours(flags), joins=not enables))
        for number, (server, flags) in enumerate(zip(survey.sources, survey.flags))
        if flags is not None
    ]


def warnings_of_feed(survey: Survey, mode: str) -> list[str]:
    """What could not be found out."""
    if mode != NOTIFICATIONS or None not in survey.flags:
        return []
    return [f"source does not tell its {FLAGS} (CONFIG GET is refused): notifications are taken to be on"]


def feed_setup(survey: Survey, setup: Setup, dbs: list[int], options: dict[str, Any], mode: str) -> FeedSetup:
    """What the feed process is told."""
    every = options["dbs"] == "all"
    filters = replace(survey.filters, scan_match=False, scan_type=False)
    pattern = filters.match or b"*"
    if mode == TRACKING and not _PREFIX.fullmatch(pattern):
        pattern = b"*"
    return FeedSetup(
        sources=setup.sources,
        dbs=dbs,
        mode=mode,
        job=setup.job,
        pattern=pattern,
        filters=filters,
        every_db=every,
        whole=pattern == b"*" and (mode == TRACKING or every),
        flags_told=None not in survey.flags,
        retry_for_s=options["retry_for"],
    )
