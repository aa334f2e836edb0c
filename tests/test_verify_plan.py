"""The tasks of a copy and of its verification: both read all that was asked for, by borders of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.given import filled
from keyferry.partitioners.server import Server
from keyferry.planning import make
from keyferry.plans import Plan, Survey
from keyferry.verify_plan import _runs, forward_tasks
from keyferry.workers.cursor import RING, position_of_slot
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.filters import Filters
from keyferry.workers.slots import SLOTS, Range, ranges_of
from keyferry.workers.task import Task

#: The slots of each of two nodes: one of them lies inside the other's.
OWNED: list[tuple[Range, ...]] = [((0, 5999), (8000, SLOTS - 1)), ((6000, 7999),)]

slot_ranges = st.sets(st.integers(0, SLOTS - 1), min_size=1, max_size=6).map(
    lambda borders: ranges_of([slot for slot in range(SLOTS) if sum(border <= slot for border in borders) % 2])
)


def plan_of(filled_slots: dict[int, int], asked: list[Range]) -> Plan:
    """A plan for two nodes whose cursors go by slot: so many keys in some slots; `asked` by --slots, or nothing."""
    endpoint = Endpoint()
    sources = [
        Server(replace(endpoint, port=7000 + number), "source", run_id=f"{number}", mode="cluster", slots=slots)
        for number, slots in enumerate(OWNED)
    ]
    survey = Survey(sources, [Server(endpoint, "target")], filters=Filters(slots=asked))
    for number, server in enumerate(sources):
        slots = in_ranges(list(server.slots)) & (in_ranges(asked) or set(range(SLOTS)))
        survey.slot_keys[number, 0] = {slot: filled_slots.get(slot, 0) for slot in slots}
        survey.opaque[number, 0], survey.sizes[number, 0] = "", 100_000
    return make(survey, [(0, 0)], filled("replicate", {}), pool=1)


def in_ranges(ranges: list[Range]) -> set[int]:
    return {slot for first, last in ranges for slot in range(first, last + 1)}


def read_by(tasks: list[Task], node: int) -> set[int]:
    """The slots that tasks read whole at a node; nothing is read twice."""
    stretches: list[list[int]] = []
    for start, end in sorted((task.start, task.end) for task in tasks if task.node == node):
        assert not stretches or stretches[-1][1] <= start
        if stretches and stretches[-1][1] == start:
            stretches[-1][1] = end
        else:
            stretches.append([start, end])
    for stretch in stretches:
        assert not any(position % position_of_slot(1) for position in stretch)
    return in_ranges([(start // position_of_slot(1), end // position_of_slot(1) - 1) for start, end in stretches])


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(st.integers(0, SLOTS - 1), st.sampled_from([1, 90, 3_000, 50_000]), max_size=40),
    st.just([]) | slot_ranges,
)
def test_copy_and_verification_read_the_slots_asked_for_wherever_they_are(
    filled_slots: dict[int, int], asked: list[Range]
) -> None:
    """Also those without keys, and those of the other node: either may change before they are read."""
    plan = plan_of(filled_slots, asked)
    sources, sizes = plan.survey.sources, plan.survey.sizes
    for tasks in (plan.tasks(), forward_tasks(plan, sources, plan.survey.targets, {}, sizes)):
        for number, slots in enumerate(OWNED):
            read = read_by(tasks, number)
            wanted = in_ranges(asked) or set(range(SLOTS))
            assert wanted <= read
            assert (read - wanted).isdisjoint(in_ranges(list(slots))), "slots that nobody asked for are not read"


def test_runs_end_where_slots_are_left_out() -> None:
    cuts = [(0, 5, 1), (5, 7, 2), (9, 11, 3), (12, 13, 4), (13, RING, 5)]
    assert _runs(cuts) == [cuts[:2], cuts[2:3], cuts[3:]]
    assert _runs(cuts[:1]) == [cuts[:1]] and _runs([]) == []


@pytest.mark.parametrize("asked", [[], [(5, 400), (402, 402), (900, 5_000)]], ids=["all", "some"])
def test_borders_of_a_verification_stay_inside_the_runs_of_the_copy(asked: list[Range]) -> None:
    plan = plan_of(dict.fromkeys(range(SLOTS), 100), asked)
    copied = plan.tasks()
    compared = forward_tasks(plan, plan.survey.sources, plan.survey.targets, {}, plan.survey.sizes)
    for node in (0, 1):
        ours, theirs = (
            {edge for task in tasks if task.node == node for edge in (task.start, task.end)}
            for tasks in (copied, compared)
        )
        runs = _runs(plan.databases[node].cuts)
        outer = {edge for run in runs for edge in (run[0][0], run[-1][1])}
        assert ours & theirs == outer
