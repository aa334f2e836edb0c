"""Forces the order in which a live copy reads and writes: what is asked or answered waits at a proxy until it may pass.

    with Sequencer(source, target, hold="RESTORE") as steps:     # a copy whose first such write is held
        steps.change(lambda key: [("HSET", key, "field", "new")])
        steps.wait_until_overtaken()                             # what may overtake it has done so
        steps.end()                                              # it is let go; both sides are equal

HOW IT WORKS. The copy has two workers, each with a connection of its own to either side, all of them through proxies;
a stall holds one of these connections, and the other one goes on. The keys that a case is about are hashes, so that
RESTORE and DUMP are about no other keys. Each change is one transaction together with a `wave`: strings, so many that
the names fill more than one task. Workers get tasks by turns, so that each has some of the names under test, and part
of the wave; the part of the worker that is not held tells when everything that waits for nothing has been done.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from .compare import assert_equal
from .live import TOLERANCE_MS, Followed, feeds, followed, notify, start_live, wait_until
from .processes import Run, pid_of_local_port, worker_pids
from .proxy import FaultProxy
from .servers import Server

#: The keys under test. Those of a wave are in between and behind, in the order of the alphabet and of the changes.
FIRST, LAST = [f"a:{number}" for number in range(10)], [f"z:{number}" for number in range(10)]
KEYS = [*FIRST, *LAST]
#: Names of a task, and of a wave: so each of two tasks begins with keys under test, and with some of the wave. What is
#: read in one window is written at once, so that those of the wave tell of them.
TASK, WAVE = 500, 600
MIDDLE = TASK - len(FIRST)
#: No wave takes longer, seconds, unless it is held; and not all of so many can be.
WAVE_S, WAVES_MOST = 3.0, 8

Command = tuple[Any, ...]


class Sequencer:
    """A live copy with the keys under test, that goes on until `end`; `words` are more options of it.

    hold: the command whose first request to the target is held. `write` are the commands that write a key under test,
    `wave` the one that writes a key of a wave.
    """

    def __init__(
        self,
        source: Server,
        target: Server,
        *words: str,
        hold: str = "",
        feed: str = "tracking",
        write: Callable[[str], list[Command]] = lambda key: [("HSET", key, "field", "old")],
        wave: Callable[[str], Command] = lambda name: ("SET", name, "1"),
    ) -> None:
        self.source, self.target = source, target
        self._words = ("--feed", feed, "--workers", "2", "--idle-timeout", "1h", *words)
        self.to_source = FaultProxy(source.port)
        self.to_target = FaultProxy(target.port, _stall(hold) if hold else "")
        self._hold, self._write, self._one_of_wave, self._waves = hold, write, wave, 0
        self._held: dict[FaultProxy, int] = dict.fromkeys((self.to_source, self.to_target), 0)
        self._before: dict[str, Any] = {}
        if feed == "notifications":
            notify(source)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.to_source)
            stack.enter_context(self.to_target)
            self._send([command for key in KEYS for command in self._write(key)])
            self.run: Run = stack.enter_context(start_live(self.to_source, self.to_target, *self._words))
            self._stack = stack.pop_all()
        try:
            if self._hold:
                self.wait_until_held(self.to_target)
            else:
                wait_until(lambda: self.target.call("EXISTS", *KEYS) == len(KEYS), what="the first copy did not come")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    # ---- steps ----------------------------------------------------------------------------------------------

    def change(self, commands: Callable[[str], list[Command]], before: tuple[Command, ...] = ()) -> None:
        """Change every key under test, and send a wave, in one transaction; right `before` it come other commands."""
        self._waves += 1
        first, last = ([command for key in keys for command in commands(key)] for keys in (FIRST, LAST))
        wave = [self._one_of_wave(name) for name in self._wave()]
        self._send([*before, ("MULTI",), *first, *wave[:MIDDLE], *last, *wave[MIDDLE:], ("EXEC",)])

    def change_to_hold(self, proxy: FaultProxy, commands: Callable[[str], list[Command]]) -> None:
        """Change the keys under test alone, so that one worker gets all of them; return once it is held."""
        self._send([("MULTI",), *(command for key in KEYS for command in commands(key)), ("EXEC",)])
        self.wait_until_held(proxy)

    def change_one(self, *command: Any) -> None:
        """Change one key that is not under test, and wait until it is at the target."""
        self._waves += 1
        name = f"one:{self._waves}"
        self.source.call("SET", name, "1")
        wait_until(lambda: self.target.call("EXISTS", name) == 1, what=f"{name} did not come")

    def hold_request(self, command: str) -> None:
        """From now on the next such request to the target is held."""
        self.to_target.set(_stall(command))

    def hold_reply(self, command: str) -> None:
        """From now on the next such reply of the source is held: the server has read, and no worker knows it."""
        self.to_source.set(f"stall replies at reply {command}")

    def wait_until_held(self, proxy: FaultProxy) -> None:
        """Return once what is to be held is; what the target has then is remembered."""
        self._held[proxy] += 1
        proxy.wait_until_fired(60, self._held[proxy])
        self._before = under_test(self.target)

    def wait_until_overtaken(self, *, to_the_last: bool = False) -> None:
        """Return once the last wave is at the target, as far as its workers are not held.

        Where the feed reads a wave in pieces, all of it may fall to the worker that is held: then another one is sent.
        `to_the_last`: also by what comes later in the same tasks, as removals do: a second wave follows them.
        """
        for _ in range(WAVES_MOST):
            if self._wave_comes():
                break
            self.change(lambda key: [])
        else:
            raise AssertionError("no part of any wave came")
        if to_the_last:
            self.change(lambda key: [])
            self.wait_until_overtaken()

    def assert_nothing_came(self) -> None:
        """Nothing has overtaken what is held: at the target the keys under test are as they were when it began."""
        assert under_test(self.target) == self._before, "it was overtaken"

    def wait_until_all_came(self) -> None:
        """Return once the keys under test are equal on both sides, though something is held."""
        wait_until(lambda: under_test(self.target) == under_test(self.source), what="the newest values did not come")

    def wait_for_another_feed(self, before: list[str]) -> None:
        """Return once another feed listens to the source than `before`."""
        wait_until(lambda: bool(set(feeds(self.source)) - set(before)), what="no other feed came")

    def kill_the_held_worker(self) -> None:
        """Kill the process one of whose connections is held; what it has sent stays under way."""
        (link,) = [*self.to_target.stalled, *self.to_source.stalled]
        pid = pid_of_local_port(link.client_port, worker_pids(self.run.pid))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def release(self, *, given_up: bool = False) -> None:
        """Let pass what is held; with `given_up`, whose client has gone, return once that has come to its end."""
        held = self.to_target.stalled
        for proxy in (self.to_target, self.to_source):
            proxy.release()
        if given_up:
            assert held, "nothing was held any more"
            wait_until(lambda: all(link.closed for link in held), what="what was given up is under way still")

    def end(self, *dbs: int, gaps: int | None = 0) -> Followed:
        """Cut over; how it ended. Both sides are equal then, in all of these databases (default: 0)."""
        self.release()
        self.run.signal(signal.SIGINT)
        done = followed(self.run)
        if gaps is not None:
            assert done.live["gaps"] == gaps, done.ran.err
        for db in dbs or (0,):
            assert_equal(self.source, self.target, db=db, ttl_tolerance_ms=TOLERANCE_MS)
        return done

    def _wave_comes(self) -> bool:
        names, deadline = self._wave(), time.monotonic() + WAVE_S
        while not self.target.call("EXISTS", *names):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _send(self, commands: list[Command]) -> None:
        with self.source.connect() as connection:
            connection.pipeline(commands)

    def _wave(self) -> list[str]:
        return [f"{'m' if number < MIDDLE else 'zz'}:{self._waves}:{number}" for number in range(WAVE)]


def under_test(server: Server) -> dict[str, Any]:
    """What a server has of the keys under test."""
    with server.connect() as connection:
        return dict(zip(KEYS, connection.pipeline([("DUMP", key) for key in KEYS]), strict=True))


def _stall(command: str) -> str:
    """Not on the first connection: it asks, before the copy begins, what the target understands."""
    return f"stall requests at request {command} connection 2+"
