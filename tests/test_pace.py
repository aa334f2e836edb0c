"""The pace of a worker and the throttle of a run, on clocks of their own: never too fast, never to 0, none starves."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.aside import AsideFile
from keyferry.contacts import Contacts
from keyferry.coordinator import Coordinator
from keyferry.governor import Governor
from keyferry.limits import Limits
from keyferry.throttle import LEAST, Throttle
from keyferry.workers.budget import Budget
from keyferry.workers.choose import Chooser
from keyferry.workers.cursor import RING
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.lane import DEPTH
from keyferry.workers.news import Counts, Progress, Report
from keyferry.workers.pace import NOTHING, SAVED_S, Bucket, Pace, Share
from keyferry.workers.setup import Node, Setup
from keyferry.workers.task import COPY, COPY_RANGE, LIST_KEYS, Task
from tests.support.seats import NotedSeats

# -- a bucket -----------------------------------------------------------------------------------------------------


@given(
    rate=st.floats(0.1, 1e7),
    steps=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1e5)), max_size=60),
)
def test_in_no_interval_passes_more_than_the_rate_allows(rate: float, steps: list[tuple[float, float]]) -> None:
    """Whoever takes only when there is no wait gets at most rate * (t + SAVED_S), and what was taken last."""
    bucket, now, taken = Bucket(rate, 0.0), 0.0, []
    for pause, tokens in steps:
        now += pause
        if bucket.wait_s(now) <= 0:
            bucket.take(tokens, now)
            taken.append((now, tokens))
    for first, last in itertools.combinations_with_replacement(range(len(taken)), 2):
        before_the_last = sum(tokens for _, tokens in taken[first:last])
        assert before_the_last <= rate * (taken[last][0] - taken[first][0] + SAVED_S) * (1 + 1e-9) + 1e-6


@given(rate=st.floats(0.1, 1e7), cost=st.floats(0.01, 1e5))
def test_who_takes_whenever_there_is_no_wait_gets_the_whole_rate(rate: float, cost: float) -> None:
    bucket, now = Bucket(rate, 0.0), 0.0
    for _ in range(100):
        now += max(0.0, bucket.wait_s(now))
        bucket.take(cost, now)
    assert 99 * cost >= rate * now * (1 - 1e-6)


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6), st.floats(0.001, 1e6))
def test_what_is_owed_stays_the_same_at_another_rate(before: float, after: float, owed: float) -> None:
    bucket = Bucket(before, 0.0)
    bucket.take(owed, 0.0)
    bucket.change(after, 0.0)
    assert abs(bucket.wait_s(0.0) * after - owed) <= 1e-6 * owed


# -- lanes --------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A clock, and the timers on it."""

    now: float = 0.0
    timers: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    serial: itertools.count[int] = field(default_factory=itertools.count)

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self.timers, (self.now + seconds, next(self.serial), then))

    def run_until(self, end: float) -> None:
        while self.timers and self.timers[0][0] <= end:
            self.now, _, then = heapq.heappop(self.timers)
            then()
        self.now = end


@dataclass(eq=False)
class PacedLane:
    """Asks and pays as `lane.Lane` does; its windows take `window_s`, its values have the sizes given, in turn."""

    world: World
    pace: Pace
    chooser: Chooser
    window_s: float
    sizes: list[int]
    log: list[tuple[float, int, int]]  # when a window opened, its keys and bytes
    open: int = 0
    windows: int = 0

    def go(self) -> None:
        while self.open < DEPTH and self.pace.admits(self):
            self.open_window()

    def open_window(self) -> None:
        keys = self.pace.window_keys(self.chooser)
        size = keys * self.sizes[self.windows % len(self.sizes)]
        self.log.append((self.world.now, keys, size))
        self.open += 1
        self.windows += 1
        paid = self.pace.open(keys, self.chooser.value_bytes)
        self.world.later(self.window_s, lambda: self.settled(keys, size, paid))

    def settled(self, keys: int, size: int, paid: float) -> None:
        self.open -= 1
        self.chooser.learn(keys, keys, size)
        self.pace.settle(paid, size)
        self.go()


def paced_lanes(world: World, windows_s: list[float], sizes: list[int]) -> tuple[Pace, list[PacedLane]]:
    pace = Pace(world.later, clock=lambda: world.now)
    chooser = Chooser("auto", 1000, Budget(64 << 20))
    log: list[tuple[float, int, int]] = []
    lanes = [PacedLane(world, pace, chooser, window_s, sizes, log) for window_s in windows_s]
    for lane in lanes:
        lane.go()
    return pace, lanes


WINDOWS_S = st.lists(st.floats(0.001, 0.1), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(windows_s=WINDOWS_S, rates=st.lists(st.floats(50, 100_000), min_size=1, max_size=4))
def test_lanes_together_keep_to_a_rate_that_changes_and_each_gets_on(
    windows_s: list[float], rates: list[float]
) -> None:
    world = World()
    pace, lanes = paced_lanes(world, windows_s, [10])
    world.run_until(1.0)
    assert not lanes[0].log  # nobody has told the share
    allowed = 0.0
    for rate in rates:
        pace.change(Share(keys_a_second=rate))
        world.run_until(world.now + 2.0)
        allowed += 2.0 * rate
    largest = max(keys for _, keys, _ in lanes[0].log)
    assert sum(keys for _, keys, _ in lanes[0].log) <= allowed + max(rates) * SAVED_S + largest
    if min(rates) >= 100 * len(lanes):
        assert min(lane.windows for lane in lanes) > 0


@settings(max_examples=30, deadline=None)
@given(windows_s=WINDOWS_S, sizes=st.lists(st.integers(100, 200_000), min_size=1, max_size=5))
def test_lanes_together_keep_to_a_bandwidth_whatever_the_values_weigh(windows_s: list[float], sizes: list[int]) -> None:
    world = World()
    pace, lanes = paced_lanes(world, windows_s, sizes)
    bandwidth = 1_000_000
    pace.change(Share(bytes_a_second=bandwidth))
    world.run_until(10.0)
    log = lanes[0].log
    # What is on its way when values turn out to be large was opened in good faith.
    in_flight = DEPTH * len(lanes) * max(size for _, _, size in log)
    assert sum(size for _, _, size in log) <= bandwidth * (10 + SAVED_S) + in_flight


def test_lanes_take_turns() -> None:
    world = World()
    pace, lanes = paced_lanes(world, [0.001, 0.05, 0.05, 0.05], [10])
    pace.change(Share(keys_a_second=1_000))
    world.run_until(10.0)
    counts = [lane.windows for lane in lanes]
    assert max(counts) <= 2 * min(counts)


def test_the_whole_rate_is_used() -> None:
    world = World()
    pace, lanes = paced_lanes(world, [0.02] * 4, [10])
    pace.change(Share(keys_a_second=20_000))
    world.run_until(10.0)
    assert sum(keys for _, keys, _ in lanes[0].log) >= 0.98 * 200_000


def test_windows_are_small_at_a_low_rate() -> None:
    world = World()
    pace, lanes = paced_lanes(world, [0.001], [10])
    pace.change(Share(keys_a_second=500))
    world.run_until(5.0)
    assert max(keys for _, keys, _ in lanes[0].log) == 10


def test_a_worker_that_loses_its_share_opens_nothing_until_it_gets_another() -> None:
    world = World()
    pace, lanes = paced_lanes(world, [0.001] * 2, [10])
    pace.change(Share(keys_a_second=1_000))
    world.run_until(1.0)
    pace.change(NOTHING)
    opened = len(lanes[0].log)
    world.run_until(5.0)
    assert len(lanes[0].log) == opened
    pace.change(Share(keys_a_second=1_000))
    world.run_until(6.0)
    assert len(lanes[0].log) > opened


def test_however_often_the_share_changes_timers_do_not_pile_up() -> None:
    """As the throttle changes it, some times a second for hours, while lanes are held back."""
    world = World()
    pace, _ = paced_lanes(world, [0.001] * 4, [10])
    for number in range(500):
        pace.change(Share(keys_a_second=1_000 + number % 50))
        world.run_until(world.now + 0.01)
    assert len(world.timers) <= 4 * DEPTH + 2  # those of open windows, and ours


def test_without_limits_windows_are_as_large_as_the_values_let_them_be() -> None:
    world = World()
    pace, lanes = paced_lanes(world, [0.001], [10])
    pace.change(Share())
    world.run_until(1.0)
    assert max(keys for _, keys, _ in lanes[0].log) == 1000
    assert pace.held_by() == ""


def test_what_holds_lanes_back_is_told_as_long_as_it_does() -> None:
    world = World()
    pace, _ = paced_lanes(world, [0.001], [100])
    pace.change(Share(keys_a_second=1_000, bytes_a_second=1e9))
    world.run_until(1.0)
    assert pace.held_by() == "keys"
    pace.change(Share(keys_a_second=1e6, bytes_a_second=10_000))
    world.run_until(2.0)
    assert pace.held_by() == "bytes"
    pace.change(Share())
    world.run_until(2.5)
    assert (pace.held_by(), pace.held_by()) == ("bytes", "")


# -- the division among workers -----------------------------------------------------------------------------------


def test_the_limits_are_divided_among_those_who_have_work() -> None:
    governor = Governor(Limits(keys_a_second=20_000, bytes_a_second=10_000_000), [])
    assert governor.share(4, 0) == Share(keys_a_second=5_000, bytes_a_second=2_500_000)
    assert governor.share(1, 0) == Share(keys_a_second=20_000, bytes_a_second=10_000_000)
    assert governor.share(0, 0) == NOTHING


def test_a_worker_without_work_keeps_nothing_and_only_changes_are_told() -> None:
    governor = Governor(Limits(keys_a_second=20_000), [])
    tasks = [Task(0, COPY_RANGE), Task(1, COPY_RANGE), Task(2, LIST_KEYS, db=1)]
    run = Coordinator(
        Setup([], [Node(Endpoint())]),
        tasks,
        3,
        NotedSeats(),
        Contacts(print, print, print),
        aside=AsideFile(""),
        governor=governor,
    )
    for _ in range(3):
        run.crew.launch(run.setup)
        run.crew.workers[-1].free = 1
    run.dispatcher.hand_out()
    run.dispatcher.share_out(governor)
    first, second, lister = [worker.seat for worker in run.crew.workers]
    assert [seat.take_shares() for seat in (first, second, lister)] == [[Share(10_000.0)], [Share(10_000.0)], []]
    run.dispatcher.share_out(governor)
    assert [seat.take_shares() for seat in (first, second, lister)] == [[], [], []]
    run._take_in(run.crew.workers[0], Report([Progress(0, RING, Counts(), finished=True)]))
    run.dispatcher.share_out(governor)
    assert [seat.take_shares() for seat in (first, second, lister)] == [[NOTHING], [Share(20_000.0)], []]
    run.ledger.forget((0, 0), COPY)  # its worker has lanes for it all the same, until they end
    run.dispatcher.share_out(governor)
    assert second.take_shares() == []


# -- the throttle -------------------------------------------------------------------------------------------------


@dataclass
class ThrottledRun:
    """A run that goes as fast as it may, looked at four times a second."""

    throttle: Throttle
    now: float = 100.0

    def rates(self, seconds: float, slower_s: Callable[[float], float], capacity: float = 100_000) -> list[float]:
        """The keys a second at each look, on a source that is slower by so much at a rate."""
        rates = []
        for _ in range(int(4 * seconds)):
            rates.append(min(capacity, self.throttle.limit or capacity))
            self.throttle.look(self.now, slower_s(rates[-1]), rates[-1])
            self.now += 0.25
        return rates


def test_a_quick_source_is_not_throttled() -> None:
    run = ThrottledRun(Throttle(0.005))
    run.rates(60, lambda rate: 0.0049)
    assert run.throttle.limit is None


def test_the_rate_falls_until_the_source_is_quick_enough_and_stays_near_that() -> None:
    """A source that gets slow in proportion to what is asked of it: 5 ms slower at 50,000 keys/s."""
    rates = ThrottledRun(Throttle(0.005)).rates(60, lambda rate: rate / 1e7, capacity=200_000)
    assert rates[0] == 200_000
    assert all(25_000 < rate < 75_000 for rate in rates[-120:])


def test_a_source_that_is_slow_for_other_reasons_does_not_stop_the_run_and_the_rate_comes_back() -> None:
    run = ThrottledRun(Throttle(0.005))
    run.rates(5, lambda rate: 0.001)
    slow = run.rates(60, lambda rate: 0.5)
    assert slow[-1] == LEAST * 100_000
    assert round(1000 * run.throttle.slower_s) == 500
    quick = run.rates(30, lambda rate: 0.001)
    assert quick[8] < 50_000 and quick[-1] == 100_000


def test_nothing_is_throttled_before_a_key_was_copied() -> None:
    throttle = Throttle(0.005)
    throttle.look(100.0, 1.0, 0.0)
    assert throttle.limit is None
