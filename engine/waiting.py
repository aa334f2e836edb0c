"""A server that is lost between two phases of a run, when no worker is there to notice, is waited for as they would.

HOW IT WORKS: the control connections of a run have a `Waiting` from the moment on when everything is found out. Each
call goes by it: where the server is not reached, or is in a state that passes, the same is asked again.

WHAT HAPPENS IF another server takes its place, as in a cluster: the outlook sees it, and the wait ends with that.

WHAT MUST STAY TRUE: it is waited only where nothing else has to go on. The coordinator's loop, which feeds workers and
follows changes, asks `without_waiting` (`partitioners/control.py`); the workers' own patience counts there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .logs import Log
from .outages import Outages
from .partitioners.control import Control, ReplyError
from .signals import Signals, ending_live
from .workers.errors import StateError, UnreachedError
from .workers.patience import Patience
from .workers.policy import Action, rule_for

if TYPE_CHECKING:
    from .outlook import Outlook


class Waiting:
    """For up to `retry_for_s` at a time, and until a signal comes that ends the run, or the `outlook` ends it."""

    def __init__(self, retry_for_s: float, log: Log, signals: Signals, outlook: Outlook | None = None) -> None:
        self.retry_for_s, self.signals, self.outlook = retry_for_s, signals, outlook
        self.outages = Outages(log.notice, log.warning, retry_for_s)

    def __call__(self, control: Control, ask: Callable[[], Any]) -> Any:
        """What `ask()` returns in the end. Raises what it raises: UnreachedError, or StateError, after that time.

        Raises Ended where a signal comes: nothing is on its way. ChangedError where it would be waited for in vain.
        """
        patience = Patience(self.retry_for_s)
        while True:
            try:
                reply = ask()
                _refuse_a_state(control, reply)
            except (UnreachedError, StateError) as error:
                self._pause(error, patience)
            else:
                self.outages.note(())
                return reply

    def _pause(self, error: UnreachedError | StateError, patience: Patience) -> None:
        where = error.side, error.address
        try:
            pause_s = patience.pause_s(where)
        except TimeoutError:
            raise error from None
        self.outages.hear([[*where, error.message]])
        self.signals.pause(pause_s)
        self.signals.obey()
        if self.outlook:
            self.outlook.check()


def waiting(options: dict[str, Any], log: Log, signals: Signals, outlook: Outlook | None = None) -> Waiting:
    """As the options of a run say. To a live copy, Ctrl-C means to cut over: it does not end a wait."""
    return Waiting(options["retry_for"], log, ending_live(signals) if options["live"] else signals, outlook)


def _refuse_a_state(control: Control, reply: object) -> None:
    """Raise StateError for an error reply that tells of a state which may pass."""
    rule = rule_for(reply) if isinstance(reply, ReplyError) else None
    if rule and rule.action is Action.WAIT:
        raise StateError(rule.reason, side=control.side, address=control.endpoint.address, hint=rule.hint)
