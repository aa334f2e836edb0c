"""Settings of servers that a run changes, and that are put back whatever ends it.

HOW IT WORKS
Before CONFIG SET, the change is written down (undofile.py) by the run's guard, a process that outlives it (guard.py).
When the run ends, by `kill -9` too, its guard puts the value back and removes the file, unless another run still needs
the change: then that one's guard does, the last one. If the guards are killed as well, the file remains and nobody
holds its lock: the next command that reaches the server puts the value back.

WHAT HAPPENS IF
the server does not answer to CONFIG SET: it may have done it, or do it later; so it is put back at the end, too.
only the guard is killed: the run has a share of the lock as well, and puts the value back at its end.
the server was restarted: it has its settings from its own file again, and what was written down is void.
somebody has changed the setting meanwhile: it is left as it is now, which is said.
the server does not let us: the file stays, and every command that reaches the server says what to type.
the disk takes no writes any more: the value is put back, and the file that stays is told of.

LIMITATIONS
Runs of other users and other machines know nothing of each other's files. What CONFIG REWRITE has saved meanwhile is
not saved again. A CONFIG SET that a network holds back until its run has ended, and delivers then, stays.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

from . import undofile
from .logs import Log
from .partitioners.control import Control, ReplyError
from .undofile import Held, Record
from .workers.errors import AccessError
from .workers.expiry import time_ms
from .workers.resp import info_fields

#: A file that another process holds alone for a moment is tried again so often.
TRIES, PAUSE_S = 20, 0.05
MS = 1000
#: How what a run has not put back itself is told of.
LEFT = "left by a run that was killed: "


@dataclass(frozen=True)
class Wanted:
    """A setting that one process of a server is to have for the time of a run."""

    run_id: str
    setting: str
    value: str
    joins: bool = False  # nothing is changed for us: what another run has changed so is to stay until our end, too


@dataclass(frozen=True)
class Outcome:
    """What became of a change: a sentence for the user, "" for nothing to tell; `failed` when the file stays."""

    text: str
    failed: bool = False
    command: str = ""  # what to type, where it failed


def tell(outcomes: list[Outcome], log: Log) -> None:
    """Say what there is to say."""
    for outcome in outcomes:
        if outcome.failed:
            log.warning(outcome.text)
        elif outcome.text:
            log.notice(outcome.text)


class NotChanged(Exception):
    """The setting is as it was; the message says why."""


class Unanswered(Exception):
    """CONFIG SET was sent, and nobody knows what became of it: `held` is to be put back; the message says why."""

    def __init__(self, held: Held, why: str) -> None:
        super().__init__(why)
        self.held = held


# ---- changing -----------------------------------------------------------------------------------------------------


def change(control: Control, wanted: Wanted) -> Held | None:
    """Give a setting its value; the file is to be held until `put_back`. None where the server has that value anyway,
    and for one that `joins` where no run has changed it.

    Raises NotChanged; Unanswered where the connection fails after the command was sent, AccessError where before.
    """
    if not undofile.is_name(wanted.run_id, wanted.setting):
        raise NotChanged("the server does not say who it is, so nobody could put it back")
    if run_id_of(control) != wanted.run_id:
        raise NotChanged("another process answers by now")
    found_so = False
    for _ in range(TRIES):
        try:
            if held := undofile.share(wanted.run_id, wanted.setting):
                return _stay(control, held) if wanted.joins else _join(control, wanted, held)
            if wanted.joins:
                return None
            now = value_of(control, wanted.setting)
            if now == wanted.value and not found_so:
                found_so = True
                continue  # another run may have made it so since we looked for its file
            if now == wanted.value:
                return None
            if held := undofile.create(_record(control, wanted, now)):
                return _begin(control, held)
        except OSError as error:
            reason = f"its undo file could not be kept: {error}"
        else:
            reason = "another run is changing it"
        time.sleep(PAUSE_S)
    raise NotChanged(reason)


def _record(control: Control, wanted: Wanted, now: str) -> Record:
    return Record(
        side=control.side,
        address=_address_of(control),
        run_id=wanted.run_id,
        setting=wanted.setting,
        old=now,
        ours=wanted.value,
        pid=os.getpid(),
        changed_at_ms=clock_ms_of(control),
    )


def _begin(control: Control, held: Held) -> Held:
    """The first run: CONFIG SET, now that the file is on disk."""
    try:
        _give(control, held)
    except NotChanged:
        if held.alone():
            held.remove()
        held.close()
        raise
    return held


def _join(control: Control, wanted: Wanted, held: Held) -> Held:
    """A further run, or one after a change that could not be put back: what is in the file stays the old value."""
    try:
        now = value_of(control, wanted.setting)
        if not held.record.is_ours(wanted.value):
            raise NotChanged(f"another run has set it to {held.record.ours}")
        if not held.record.is_ours(now) and now != held.record.old:
            raise NotChanged(f"another run has set it to {held.record.ours}, and somebody else to {now}")
        if not held.record.is_ours(now):
            _give(control, held)
    except (NotChanged, AccessError):
        held.close()
        raise
    return held


def _stay(control: Control, held: Held) -> Held | None:
    """A run that needs what another one has changed; None where that is not the value any more."""
    try:
        if held.record.is_ours(value_of(control, held.record.setting)):
            return held
    except (NotChanged, AccessError):
        held.close()
        raise
    held.close()
    return None


def _give(control: Control, held: Held) -> None:
    """Give the setting our value. A server that is silent may do so yet, when it goes on: the file is kept."""
    try:
        _set(control, held.record.setting, held.record.ours)
    except AccessError as error:
        raise Unanswered(held, str(error)) from None


# ---- putting back -------------------------------------------------------------------------------------------------


def give_up(control: Control, held: Held) -> Outcome:
    """Put back what we hold a share of, unless other runs need it. Raises AccessError where the connection fails.

    May be called again after a failure. A run that has come to need the change until then puts it back in our place.
    """
    for _ in range(TRIES):
        if held.alone():
            outcome = None
            try:
                outcome = put_back(control, run_id_of(control), held)
                return outcome
            finally:
                if outcome is None or outcome.failed:
                    held.share_again()
        # It may be another run, or a command that only looks.
        time.sleep(PAUSE_S)
    return Outcome("")


def left_behind(control: Control, run_id: str, may_change: bool) -> list[Outcome]:
    """Put back what killed runs have left at the server that we are connected to; or, unless we may, tell of it.

    The outcomes that there is something to tell of. Raises AccessError where the connection fails.
    """
    outcomes = []
    for held in undofile.unneeded():
        record = held.record
        if may_change and (run_id == record.run_id or _is_void(control, run_id, record)):
            outcomes.append(put_back(control, run_id, held))
        elif run_id == record.run_id:
            outcomes.append(failed(record, "this command changes nothing"))
    return [replace(outcome, text=LEFT + outcome.text) for outcome in outcomes if outcome.text]


def put_back(control: Control, run_id: str, held: Held) -> Outcome:
    """Undo the change of a file that we hold alone; `run_id` is of the process that we are connected to."""
    record = held.record
    if run_id != record.run_id:
        if not _is_void(control, run_id, record):
            return failed(record, "another process answers there")
        return _settled(held, "")
    try:
        now = value_of(control, record.setting)
        if record.is_ours(now):
            _set(control, record.setting, record.old)
    except NotChanged as error:
        return failed(record, str(error))
    if record.is_ours(now):
        return _settled(held, f"{_where(record)} is {record.old or undofile.EMPTY} again")
    text = f"{_where(record)} is left at {now or undofile.EMPTY}, as somebody has set it meanwhile"
    return _settled(held, "" if now == record.old else text)


def _settled(held: Held, text: str) -> Outcome:
    """Nothing is left to put back; a file that stays, as on a disk that takes no writes, is told of each time."""
    try:
        held.remove()
    except OSError as error:
        text = f"{text or _where(held.record)}; its undo file {held.path} could not be removed: {error.strerror}"
    return Outcome(text)


def failed(record: Record, why: str) -> Outcome:
    """The outcome for a change that stays, with what to type."""
    text = (
        f"{_where(record)} was {record.old or undofile.EMPTY} before a run made it {record.ours}, and is not put back"
    )
    return Outcome(f"{text} ({why}): type {record.command}", failed=True, command=record.command)


def _where(record: Record) -> str:
    return " ".join(part for part in (record.side, record.address, record.setting) if part)


def _is_void(control: Control, run_id: str, record: Record) -> bool:
    """Whether the process that was changed is gone: one that began later listens at its address."""
    if not run_id or run_id == record.run_id or _address_of(control) != record.address:
        return False
    uptime_s = _about_server(control).get("uptime_in_seconds", "")
    # Both the age and the instant it is counted from are whole seconds: the server is up to one older than that.
    return uptime_s.isdigit() and clock_ms_of(control) - (int(uptime_s) - 1) * MS > record.changed_at_ms


# ---- what is asked ------------------------------------------------------------------------------------------------


def run_id_of(control: Control) -> str:
    """Which process answers; '' where it does not say."""
    return _about_server(control).get("run_id", "")


def _about_server(control: Control) -> dict[str, str]:
    reply = control.call("INFO", "server")
    return info_fields(reply) if isinstance(reply, bytes) else {}


def _address_of(control: Control) -> str:
    """Where the server is, whichever folder it is asked from: a file is read by commands that are started elsewhere."""
    socket = control.endpoint.socket
    return os.path.abspath(socket) if socket else control.endpoint.address


def clock_ms_of(control: Control) -> int:
    """The server's clock; 0 where it does not tell."""
    reply = control.call("TIME")
    return time_ms(reply) if isinstance(reply, list) else 0


def value_of(control: Control, setting: str) -> str:
    """The setting as it is now; raises NotChanged where the server does not tell."""
    reply = control.call("CONFIG", "GET", setting)
    if isinstance(reply, ReplyError):
        raise NotChanged(f"CONFIG GET was refused: {reply}")
    if not isinstance(reply, list) or len(reply) != 2:
        raise NotChanged("the server has no such setting")
    return str(reply[1].decode(errors="replace"))


def _set(control: Control, setting: str, value: str) -> None:
    reply = control.call("CONFIG", "SET", setting, value)
    if reply != b"OK":
        raise NotChanged(f"CONFIG SET was refused: {reply}")
