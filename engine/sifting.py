"""Tasks that sift names, and what has passed, in the order of the names: whatever the order in which workers answer.

With --limit the first names that pass are copied. Which those are must not depend on who was quicker: a comparison
with the same limit would look at other keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .workers.task import Task

#: So many tasks are given out, or wait for one before them, at a time: their names are in memory.
MOST_TASKS = 2_000


@dataclass
class _Turn:
    """A task that was given out: so many of its names have no answer yet, and what has passed of the others."""

    open: int
    passed: list[tuple[Task, list[bytes]]] = field(default_factory=list)


class Sifting:
    """Tasks get their turns by `begin`; `answered` gives back what has passed, once it is its turn."""

    def __init__(self) -> None:
        self._turns: dict[int, _Turn] = {}
        self._first = self._next = 0

    @property
    def crowded(self) -> bool:
        """No more is to be begun."""
        return len(self._turns) >= MOST_TASKS

    def begin(self, task: Task) -> Task:
        """The task with its turn, which its parts have as well should it be taken apart."""
        self._turns[self._next] = _Turn(len(task.keys))
        self._next += 1
        return replace(task, turn=self._next - 1)

    def answered(self, task: Task, keys: list[bytes]) -> list[tuple[Task, list[bytes]]]:
        """These keys of a task, or of a part of one, have passed; all (task, keys) that are next by now."""
        turn = self._turns[task.turn]
        turn.open -= len(task.keys)
        turn.passed.append((task, keys))
        ready: list[tuple[Task, list[bytes]]] = []
        while self._first in self._turns and not self._turns[self._first].open:
            ready += self._turns.pop(self._first).passed
            self._first += 1
        return ready
