"""A live copy from plan to summary: copy and follow, cut over, verify, look a last time; again where that fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .catching_up import catch_up
from .coordinator import Coordinator
from .cutover import CutOver
from .executors import LocalProcesses
from .feed_choice import feed_setup
from .feeding import Feeding
from .field import Field
from .live import Live
from .live_checks import refuse_copy_back
from .live_memory import Identity, Memory
from .live_result import LiveResult
from .logs import Log
from .partitioners.commands import harmless_at
from .partitioners.control import hurried, without_waiting
from .partitioners.topology import describe
from .plans import Plan
from .removals import Removals, refuse_what_has_shrunk
from .replica_watch import pairs_of
from .signals import Signals, ending_live
from .supply import owners_in
from .survey import Controls, check_identities, database_size
from .sweeps import SWEEPS_MAX
from .trespass import Trespass
from .verify_plan import reverse_tasks
from .workers.errors import AccessError, ChangedError, NotConverged
from .workers.feed_task import NOTIFICATIONS
from .workers.news import Counts
from .workers.task import Task

#: For the last look we wait so long for the feed, beside what a lost connection may take.
LOOK_S = 60.0
#: Vector sets are there from this version of Redis on.
VECTORS_SINCE = (8, 0)
WRITTEN = "the source was written to until the end"
LOST = f"events were lost during each of {SWEEPS_MAX} verifications"
MEND = "mend the cause that the warnings name, and run the same command again"
HIDDEN = "not every change of the source's streams or vector sets has an event, and its INFO is refused"
LET_US_ASK = "ACL SETUSER … +info; or stop the writers, then keyferry compare"


@dataclass
class Parts:
    """What a run is made of, besides its plan."""

    options: dict[str, Any]
    log: Log
    signals: Signals
    memory: Memory
    coordinator: Callable[..., Coordinator]  # with what is the same for all: (setup, tasks, live, phase)
    verify: Callable[[Coordinator], tuple[bool | None, int]]  # are both sides equal? None: not verified; and a signal
    check: Callable[[], None]  # raises ChangedError where a server was seen to be another one


class Following:
    """One pass of a live copy. `result` and `counts` are there afterwards, also after an error."""

    def __init__(self, plan: Plan, controls: Controls, parts: Parts) -> None:
        self.plan, self.controls, self.parts = plan, controls, parts
        options, memory = parts.options, parts.memory
        self.targets = {part.db: part.target_db for part in plan.databases}
        trespass = _trespass_at(plan, controls, memory)
        memory.learn_targets(self.targets, _sizes_by_now(plan, controls), options["prune"])
        sizes: dict[int, int] = {}
        for part in plan.databases:
            sizes[part.db] = sizes.get(part.db, 0) + part.keys
        # The same servers serve another pass where a database has appeared: what has gone there was removed by clients.
        changed = memory.learn_servers(_identities(plan))
        refuse_what_has_shrunk(memory.sizes if changed else {}, sizes, options["prune"])
        memory.sizes = sizes
        # With --prune nothing is too much to be removed: it need not be counted first.
        planning = changed and not options["prune"]
        self.removals = Removals(self.targets, memory.allowed, options["prune"], planning, memory.ours)
        self.removals.target_keys = sum(plan.survey.target_sizes.values())
        setup = feed_setup(plan.survey, plan.setup, sorted(self.targets), options, plan.feed)
        types = {name.lower() for name in setup.filters.types}  # as they were typed
        where = Field(
            self.targets,
            [part.scope for part in plan.databases],
            owners_in(plan.setup),
            plan.tasks,
            lambda: reverse_tasks(plan, controls, [describe(one) for one in controls.targets], options),
            setup.filters.named,
            streams=not types or "stream" in types,
            vectors=plan.feed == NOTIFICATIONS and (not types or "vectorset" in types) and _has_vectors(plan),
        )
        self.live = Live(
            Feeding(LocalProcesses(), setup, lambda why: None, events_before=memory.events),
            where,
            self.removals,
            options["idle_timeout"],
            parts.log.notice,
            parts.log.warning,
            trespass,
            lambda: _look_for_a_copy_back(plan, controls),
            timeout_s=max(node.endpoint.timeout_s for node in plan.setup.targets),
            keys=memory.keys,
        )
        self.live.sweeps.gaps, self.live.lag = memory.gaps, memory.lag
        # Targets are looked up, too: each node has its share of what may be asked for.
        most = plan.setup.unread_bytes
        more = [min(most)] * max(0, len(plan.setup.targets) - len(most))
        self.setup = self.removals.told(replace(plan.setup, live=True, unread_bytes=most + more))
        self.result = LiveResult()
        self.counts = Counts()
        self.cpu_s = 0.0
        self.copy_s = 0.0  # until everything was copied once
        self.signal = 0
        self.last: Coordinator | None = None

    def run(self) -> None:
        """Until both sides are equal, or it is clear that this cannot be claimed. Raises what ends a run early."""
        live = self.live
        try:
            live.feeding.begin()
            self._run_until_proved()
        except NotConverged as error:
            self.result.reason = str(error)
            raise
        except ChangedError:
            self._leave_trespass()
            raise
        finally:
            live.feeding.end()
            self._describe()

    def _run_until_proved(self) -> None:
        live, first, repairs, lost = self.live, True, int(self.parts.options["repair"]), 0
        while True:
            self._coordinate(self._first_tasks() if first else [], "copy" if first else "live")
            first = False
            if self.signal:
                return
            assert live.cutting is not None
            done, gaps = live.cutting, live.sweeps.gaps
            assert self.last is not None
            equal, self.signal = self.parts.verify(self.last)
            if self.signal:
                return
            live.asked = live.asked or bool(self.parts.signals.seen())
            undisturbed = self._undisturbed(done, gaps)
            lost_now = live.sweeps.gaps > gaps
            if undisturbed:
                if equal is not False or not repairs:
                    self.result.equal, self.result.verdict_stands = equal, True
                    if live.silent.may_have_changed:
                        self.result.reason, self.result.advice = HIDDEN, LET_US_ASK
                    return
                repairs -= 1  # what differs is marked: it is copied like what has changed, and compared again
            elif self.signal:
                return
            elif live.asked:
                lost += lost_now  # a gap is no sign of a writer, and is made good
                if lost == SWEEPS_MAX or not lost_now:
                    self.result.reason, self.result.verdict_stands = WRITTEN, True  # the reason says what it is worth
                    if lost_now:
                        self.result.reason, self.result.advice = LOST, MEND
                    return
            live.cutting = None

    def _first_tasks(self) -> list[Task]:
        # What was written between two passes, and what went, is told by no feed.
        again = self.plan.again
        tasks = self.plan.tasks() if again or not self.parts.options["live_only"] else []
        if again or (self.parts.options["prune"] and self.removals.target_keys):
            lookups = self.live.field.lookups()
            tasks += [replace(task, id=number) for number, task in enumerate(lookups, len(tasks))]
        return tasks

    def _coordinate(self, tasks: list[Task], phase: str) -> None:
        """Let workers follow the changes until the cut-over is done, or a signal ends it."""
        self.live.trespass.resume()
        self.setup = self.removals.told(self.setup)  # what a phase has learned holds for the next one
        coordinator = self.last = self.parts.coordinator(self.setup, tasks, self.live, phase)
        try:
            coordinator.run()
        finally:
            if phase == "copy":
                self.counts = coordinator.state.counts
            self.cpu_s += coordinator.cpu_s
            self.copy_s = self.copy_s or self.live.copied_s or coordinator.state.seconds
        self.signal = coordinator.signal
        if not self.signal:
            check_identities(self.plan, self.controls)
            self.live.trespass.pause()

    def _leave_trespass(self) -> None:
        """Another pass follows: until it begins, nothing of ours writes."""
        trespass = self.live.trespass
        with contextlib.suppress(AccessError), hurried(trespass.controls):
            trespass.pause()
            self.parts.memory.trespass = trespass

    # ---- the last look --------------------------------------------------------------------------------------

    def _undisturbed(self, done: CutOver, gaps: int) -> bool:
        """Whether nothing in scope was written since it was done, and no event lost since there were so many gaps.

        A fence, and if need be a look at what events name. A gap in that look is made good before it ends: what was
        copied again for that is at the target, and was never compared.
        """
        live, since = self.live, done.settled_at
        self._wait_for_replicas()
        if not self.signal:
            self._wait_for_fence()
        if live.sweeps.under_way or self.signal:
            return False
        told = live.feeding.told
        if live.silent.changed:
            return False
        if told.still_since and told.still_since <= done.still_by:
            return True
        if self._may_miss_modules:
            return False
        live.cutting = CutOver(live, asked=True, since=since)
        self._coordinate([], "live")
        written = live.activity_at > since or live.silent.changed
        return not (self.signal or live.sweeps.gaps > gaps or written)

    @property
    def _may_miss_modules(self) -> bool:
        """Notifications do not tell of all that modules write: then only a source at rest was surely not written to."""
        return self.plan.feed == NOTIFICATIONS and any(one.modules for one in self.plan.survey.sources)

    def _wait_for_replicas(self) -> None:
        """Replicas that are read may be quiet only because they are behind: they get what their masters have now."""
        pairs = pairs_of(self.plan, self.controls.sources)
        parts, signals = self.parts, ending_live(self.parts.signals)
        try:
            with without_waiting(self.controls.sources):  # replicas have a time of their own to catch up
                self.signal = catch_up(pairs, signals, parts.log.warning, parts.memory.warned)
        finally:
            for pair in pairs:
                pair.master.close()

    def _wait_for_fence(self) -> None:
        feeding = self.live.feeding
        number = feeding.fence()
        deadline = time.monotonic() + LOOK_S + self.parts.options["retry_for"]
        signals = ending_live(self.parts.signals)
        while number not in feeding.passed:
            self.signal = signals.seen()
            if self.signal:
                return
            self.parts.check()
            if time.monotonic() > deadline:
                raise NotConverged("the source did not answer to the last look", side="source")
            self.live.generations.again(feeding.turn(0))  # names that were asked for before
            time.sleep(0.01)

    def _describe(self) -> None:
        live, result, memory = self.live, self.result, self.parts.memory
        memory.gaps, memory.keys, memory.events = live.sweeps.gaps, live.keys, live.feeding.events
        sizes = live.feeding.told.sizes
        if sizes is not None and not self.plan.some_slots:
            memory.sizes = {db: sizes.get(db, 0) for db in memory.sizes}
        result.keys, result.gaps, result.events = memory.keys, memory.gaps, memory.events
        result.lag_max_s, result.lag_p99_s = live.lag.most, live.lag.below(0.99)
        result.left, result.more_left = len(self.removals.left), self.removals.more_left
        result.cpu_s = live.feeding.cpu_s


def _trespass_at(plan: Plan, controls: Controls, memory: Memory) -> Trespass:
    """Who looks at the targets, where nothing of ours writes yet: as in the pass before, if the same ones serve."""
    targets, harmless = controls.targets, [harmless_at(control) for control in controls.targets]
    before, memory.trespass = memory.trespass, None
    processes = [{one[1] for one in servers if one[0] == "target"} for servers in (memory.servers, _identities(plan))]
    if before and processes[0] == processes[1] and all(processes[0]):
        before.go_on(targets, harmless, plan.survey.permissions.tried)
        return before
    trespass = Trespass(targets, harmless)
    trespass.pause()
    return trespass


def _look_for_a_copy_back(plan: Plan, controls: Controls) -> None:
    """Raise RefusedError for one that has begun together with us, as far as the servers tell in time."""
    with contextlib.suppress(AccessError), hurried(controls.all):
        refuse_copy_back(plan.survey, controls.sources, controls.targets)


def _sizes_by_now(plan: Plan, controls: Controls) -> dict[int, int]:
    """Of the target's databases; those that were empty are looked at again, now that writes of others are noticed."""
    return {db: keys or database_size(controls.targets, db) for db, keys in plan.survey.target_sizes.items()}


def _identities(plan: Plan) -> set[Identity]:
    """Of all servers of a plan."""
    return {(one.side, one.run_id, one.replid) for one in plan.survey.sources + plan.survey.targets}


def _has_vectors(plan: Plan) -> bool:
    """Whether the source knows vector sets."""
    return any(one.product == "Redis" and one.knows(VECTORS_SINCE) for one in plan.survey.sources)
