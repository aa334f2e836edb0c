"""Whether others write to the target while a live copy runs: then what is there too much may be theirs.

HOW IT WORKS
    INFO counts the calls of every command at the target. One that we never send there is others', and counts as a
    write unless it is known to be harmless (`partitioners/commands.py`): nobody knows all commands that write.
    Of those that we do send, the workers know how many they have sent; what is counted beyond that is others' as well.
    A lost connection may have swallowed some of ours: a few of theirs may go unnoticed, and never the other way round.
    Before the first worker begins and while we verify, nothing of ours writes: all that is counted then is others'.
    So it is between two passes, if the same targets serve the second one: a server that is gone may be waited for long.

WHAT MUST STAY TRUE
    A count is compared with what the workers have told after it was made, however long that takes them on a machine
    that is busy. Each report says when it was made, and a command is counted as sent before it leaves.
    Nobody waits for a target while workers are at work: the coordinator has signals to look at.
"""

from __future__ import annotations

import operator
import re
import time
from dataclasses import dataclass, field

from .partitioners.commands import MOVING, is_harmless
from .partitioners.control import Control
from .workers.errors import AccessError

#: The targets are asked so often.
LOOK_S = 1.0
#: … and so much later where a control connection was lost: to connect may take long.
LOST_S = 30.0
#: What we send to a target that writes.
OURS = frozenset({"set", "mset", "restore", "unlink"})
_COUNTS = ("INFO", "commandstats")
_CALLS = re.compile(rb"^cmdstat_([^:]+):calls=(\d+)", re.MULTILINE)


Calls = tuple[int, int]  # of commands that only others send, and of those that we send


@dataclass
class Trespass:
    """Looks at the targets; `seen` once others have written there.

    `harmless`: for each of them, what it says itself of its commands (`harmless_at`).
    """

    controls: list[Control]
    harmless: list[frozenset[str]]
    seen: bool = False
    _theirs: int | None = None  # calls of others before we began to count
    _ours: int | None = None  # calls of what we send, beyond those that our workers tell of
    _last: Calls | None = None  # the last complete count …
    _counted_at: float = 0.0  # … and when it was complete
    _counting: bool = False  # targets are asked, and not all have answered
    _sent: int | None = None  # what had been told when they were asked; None: their answers are of no use any more
    _answers: dict[int, Calls] = field(default_factory=dict)  # by the number of the target
    _next_at: float = 0.0  # nobody is asked before
    _at_rest: Calls | None = None  # what was counted when our workers had ended; None: they are at work
    _missed: bool = False  # more was, when they began again

    def pause(self) -> None:
        """Nothing of ours writes until `resume`. Waits for the targets; raises AccessError."""
        if self._at_rest is None:
            self._at_rest = self._count()
            self._theirs = self._at_rest[0] if self._theirs is None else self._theirs

    def go_on(self, controls: list[Control], harmless: list[frozenset[str]], tried: int) -> None:
        """Another pass is served by the same processes. It has `tried` so many of our commands, to see if it may."""
        assert self._at_rest is not None
        self.controls, self.harmless = controls, harmless
        self._at_rest = self._at_rest[0], self._at_rest[1] + tried

    def resume(self) -> None:
        """New workers are about to begin, and have sent nothing yet. Waits for the targets; raises AccessError."""
        now = self._count()
        self._missed = self._at_rest is not None and any(map(operator.gt, now, self._at_rest))
        self._at_rest = None
        self.restart()
        self._ours = now[1]

    def restart(self) -> None:
        """Some of what our workers have sent will never be told, or comes late: what we send is counted from now on."""
        self._ours = self._sent = None

    def look(self, sent: int, told_at: float) -> bool:
        """Whether others are seen to write for the first time.

        `sent`: commands that our workers have sent, all of those that left before the instant `told_at` among them.
        """
        if self.seen:
            return False
        try:
            self._go_on(sent, told_at)
        except AccessError:
            self._next_at = time.monotonic() + LOST_S  # the workers have connections of their own, and will tell
        return self.seen

    def _go_on(self, sent: int, told_at: float) -> None:
        due = time.monotonic() >= self._next_at
        if self._counting:
            self._hear()
        elif self._ours is None or told_at > self._counted_at:
            self.seen = self._exceeds(sent)
            if due and not self.seen:
                self._counting, self._sent, self._answers = True, sent, {}
        if self._counting and due:
            self._ask()

    def _ask(self) -> None:
        """Ask those that have not answered; also once more, as a connection may have been lost with the answer."""
        self._next_at = time.monotonic() + LOOK_S
        for number, control in enumerate(self.controls):
            if number not in self._answers:
                control.ask(*_COUNTS)

    def _hear(self) -> None:
        for number, control in enumerate(self.controls):
            if number not in self._answers and (reply := control.answer(*_COUNTS)) is not None:
                self._answers[number] = self._calls(number, reply)
        if len(self._answers) == len(self.controls):
            self._counting = False
            if self._sent is not None:
                self._take_in(self._sent)

    def _take_in(self, sent: int) -> None:
        """All have answered."""
        theirs, ours = (sum(calls) for calls in zip(*self._answers.values()))
        if self._last and (theirs < self._last[0] or ours < self._last[1]):
            self._theirs = self._ours = None  # somebody has reset the counters
        self._theirs = theirs if self._theirs is None else min(theirs, self._theirs)
        self._ours = ours - sent if self._ours is None else self._ours
        self._last, self._counted_at = (theirs, ours), time.monotonic()

    def _exceeds(self, sent: int) -> bool:
        if self._missed:
            return True
        if self._last is None or self._theirs is None or self._ours is None:
            return False
        return self._last[0] > self._theirs or self._last[1] - self._ours > sent

    def _count(self) -> Calls:
        """All targets together, asked at once."""
        told = [self._calls(number, control.call(*_COUNTS)) for number, control in enumerate(self.controls)]
        return sum(theirs for theirs, _ in told), sum(ours for _, ours in told)

    def _calls(self, number: int, reply: object) -> Calls:
        """What one target has counted."""
        found = _CALLS.findall(reply) if isinstance(reply, bytes) else []
        calls = {name.decode("ascii", "replace").lower(): int(count) for name, count in found}
        ours = sum(calls.pop(name, 0) for name in OURS)
        for name in MOVING if len(self.controls) > 1 else ():
            calls.pop(name, 0)
        told = self.harmless[number]
        return sum(count for name, count in calls.items() if not is_harmless(name, told)), ours
