"""Tasks of keys by name, made as workers become free: where a file names the keys, or --limit says how many.

HOW THE LIMIT HOLDS
    Only names that are in a task can be copied, so room is kept: each task of keys takes as much as it has names, and
    what it did not copy (expired, put aside) comes back when it is finished. A task that is done again has the same
    names. So the keys of the target that come from this run are at most `limit`, whatever fails in between.
    Filters are applied before, by tasks that copy nothing, so that hardly any room is taken in vain; what passes keeps
    the order of the names (`sifting.py`).

A batch is read only when a worker can take it: a file of any size does not fill the memory.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .given_names import GivenNames
from .grammar import Invocation
from .logs import Log
from .partitioners.control import Control
from .partitioners.keys import NamesFile, NamesScan, cut
from .plans import Plan
from .sifting import Sifting
from .text import plural
from .workers.errors import ChangedError, RunError
from .workers.news import Counts
from .workers.setup import Setup
from .workers.slots import owners_of, slots_of
from .workers.task import COPY, COPY_KEYS, SIFT_KEYS, Task


class Names(Protocol):
    """Where names come from."""

    def batch(self) -> list[bytes] | None:
        """Names, [] while there are none yet, None at the end."""


@dataclass
class Source:
    """The names of keys of one database; `pattern` is the task that each batch becomes, but for its keys."""

    pattern: Task
    names: Names


class Supply:
    """Makes tasks of the names from `sources`, one source after the other. `limit` None: no limit.

    `owners`: the node of each slot, where names may be of any node of a cluster.
    """

    def __init__(
        self, sources: Sequence[Source], limit: int | None, sifts: bool, owners: list[int] | None = None
    ) -> None:
        self.owners = owners
        self.sources = deque(sources)
        self.sifts = sifts and limit is not None  # without a limit, the lanes that copy do it
        self.room = sys.maxsize if limit is None else limit
        self.ready: deque[Task] = deque()  # what was read last, and keys that wait for room
        self.sifting = Sifting()
        self.given: GivenNames | None = None  # where names are to be looked at again

    @property
    def finished(self) -> bool:
        """No task will be made, unless one that is given out leaves room."""
        return self.room == 0 or not (self.sources or self.ready)

    @property
    def at_limit(self) -> bool:
        """As many keys were copied as the limit allows."""
        return self.room == 0

    def tasks(self, wanted: int) -> list[Task]:
        """At most so many tasks. Raises what reading names raises."""
        made: list[Task] = []
        while len(made) < wanted and (task := self._next()) is not None:
            made.append(task)
        return made

    def _next(self) -> Task | None:
        while self.room and not self.ready and self.sources and not self.sifting.crowded:
            names = self.sources[0].names.batch()
            if names is None:
                self.sources.popleft()
            elif not names:
                return None
            else:
                kind = SIFT_KEYS if self.sifts else COPY_KEYS
                self._make_ready(replace(self.sources[0].pattern, kind=kind), names)
        if not (self.room and self.ready):
            return None
        task = self.ready.popleft()
        return self.sifting.begin(task) if task.kind == SIFT_KEYS else self._with_room(task)

    def _with_room(self, task: Task) -> Task:
        """The task, with no more keys than there is room; the others have to wait."""
        keys, rest = task.keys[: self.room], task.keys[self.room :]
        if rest:
            self.ready.appendleft(replace(task, keys=rest))
        self.room -= len(keys)
        task = replace(task, keys=keys)
        if self.given is not None:
            self.given.add(task)
        return task

    def _make_ready(self, pattern: Task, names: list[bytes]) -> None:
        if self.owners is None:
            self.ready.extend(replace(pattern, keys=batch) for batch in cut(names))
            return
        by_node: dict[int, list[bytes]] = {}
        for name, slot in zip(names, slots_of(names)):
            by_node.setdefault(self.owners[slot], []).append(name)
        for node, own in by_node.items():
            self.ready.extend(replace(pattern, node=node, keys=batch) for batch in cut(own))

    def add(self, task: Task) -> None:
        """Keys of slots that have moved, as far as there is room."""
        self._make_ready(replace(task, kind=SIFT_KEYS if self.sifts else COPY_KEYS), task.keys)

    def sifted(self, task: Task, keys: list[bytes]) -> None:
        """These keys of a task have passed the filters."""
        for one, passed in self.sifting.answered(task, keys):
            self._make_ready(replace(one, kind=COPY_KEYS, sifted=True), passed)

    def settled(self, task: Task, copied: int) -> None:
        """A task is finished; what it did not copy is room again."""
        if task.kind == COPY_KEYS:
            self.room += len(task.keys) - copied

    def lost(self, task: Task) -> None:
        """Nothing comes of a task: its key kills workers."""
        if task.kind == SIFT_KEYS:
            self.sifted(task, [])
        else:
            self.settled(task, copied=0)


def names_file(call: Invocation, before: NamesFile | None = None) -> NamesFile | None:
    """The file of --keys-from, if there is one; of a pass that begins again the file of `before`. Raises UsageError."""
    options = call.options
    if options["keys_from"] is None:
        return None
    if before:
        return before.anew()
    assert call.source is not None
    (db,) = options["dbs"] or options["db_map"] or [call.source.db or 0]
    return NamesFile(options["keys_from"], options["keys_format"], db)


def tell_of_names(names: NamesFile, counts: Counts, log: Log, whole: bool = True) -> None:
    """What the user should know of a list of keys; `counts` are of all of its names if they are `whole`."""
    if names.repeated:
        log.notice(f"{names.label}: {plural(names.repeated, 'name')} came again and were passed over")
    if names.elsewhere:
        log.warning(f"{names.label}: {plural(names.elsewhere, 'record')} of other databases passed over")
    if whole and counts.read == counts.expired:
        some = f"none of its {plural(counts.read, 'name')} is a key there"
        text = some if counts.read else "it names no key of this database"
        log.warning(f"{names.label}: {text}", "is it for this database, and as --keys-format says?")


def supply_of(plan: Plan, controls: list[Control], names: Names | None, work: str = COPY) -> Supply:
    """The supply of a plan that copies keys by name; `controls` are connected to the source's nodes."""
    setup = plan.setup
    parts = plan.databases if names is None else plan.databases[:1]
    sources = []
    for part in parts:
        control, words = controls[part.node], setup.filters.scan_words
        scan = NamesScan(control, part.db, setup.scan_count, words, setup.retry_for_s)
        pattern = Task(0, COPY_KEYS, node=part.node, db=part.db, target_db=part.target_db, work=work)
        sources.append(Source(pattern, names or scan))
    owners = owners_in(setup) if names is not None else None
    return Supply(sources, plan.limit, setup.filters.sifts, owners)


def supply_again(given: GivenNames, setup: Setup, work: str) -> Supply:
    """The keys that a supply has given out, once more, wherever they are by now."""
    return Supply([Source(*one) for one in given.again(work)], None, False, owners_in(setup))


def owners_in(setup: Setup) -> list[int] | None:
    """The source node of each slot; None where the source is no cluster."""
    slots = [node.slots for node in setup.sources]
    return owners_of(slots) if any(slots) else None


def refuse_to_begin_again(options: Mapping[str, Any], names: NamesFile | None, changed: ChangedError) -> None:
    """Raise RunError where a second pass would not do what was asked: names are gone, or the limit is used up."""
    once = "--limit" if options["limit"] is not None else names.label if names and not names.begins_again else ""
    if once:
        raise RunError(
            f"{changed.message}, and a copy with {once} cannot begin again",
            side=changed.side, address=changed.address, hint="run the same command again",
        ) from None  # fmt: skip
