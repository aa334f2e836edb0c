"""Runs the real command in processes of its own, finds all of its descendants, and makes sure that none is left."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

#: A copy is not verified unless its test wants that (`VERIFIED` as its `env`): the run of all tests is to end soon.
UNVERIFIED = {"KEYFERRY_NO_VERIFY": "1"}
VERIFIED = {"KEYFERRY_NO_VERIFY": ""}

#: In the environment of each run, with a value of its own: every process that descends from it has it, also one that
#: was given to init or began a session of its own.
MARK = "SUPPORT_RUN"

#: How long processes may take to go after the command has ended, seconds, before they count as left over. They take
#: a moment; this is for a machine under load, as all limits here are.
GONE_S = 20.0

#: The helpers of multiprocessing, by what their command lines hold.
TRACKER = b"resource_tracker"
FORK_SERVER = b"forkserver"
#: The process that puts settings back.
GUARD = b"keyferry.guard"


@dataclass(frozen=True)
class Result:
    """What a run left: exit code (negative: ended by that signal), output as text, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float
    left: tuple[int, ...]  # processes of the run that were still there some time after its end; they are killed by now


class Run:
    """A started command, in a session of its own; `with start_keyferry(...) as run:` ends whatever is left of it."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], input: bytes | None, cwd: str | None) -> None:
        self.mark = uuid.uuid4().hex
        self._out, self._err, self._in = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
        self._in.write(input or b"")
        self._in.seek(0)
        self._begun = time.monotonic()
        self._process = subprocess.Popen(
            words, stdin=self._in, stdout=self._out, stderr=self._err, cwd=cwd, start_new_session=True,
            env={**clean_environment(), **UNVERIFIED, **env, MARK: self.mark},
        )  # fmt: skip
        self.pid = self._process.pid

    @property
    def out(self) -> str:
        """Standard output so far."""
        return _text(self._out)

    @property
    def err(self) -> str:
        """Standard error so far."""
        return _text(self._err)

    @property
    def running(self) -> bool:
        """Whether the command itself has not ended."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the command's first process only."""
        self._process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the whole process group, as a terminal does for Ctrl-C."""
        os.killpg(self.pid, number)

    def wait(self, timeout: float = 100, gone_within: float = GONE_S) -> Result:
        """The result after the end; fails the test with the output so far when that takes longer than `timeout` s.

        The other processes of the run have `gone_within` seconds more.
        """
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"no end within {timeout} s\n{self.out}\n{self.err}") from None
        seconds = time.monotonic() - self._begun
        left = tuple(left_over(self.mark, gone_within))
        self.end()
        return Result(code, self.out, self.err, seconds, left)

    def wait_for_text(self, text: str, timeout: float = 60) -> None:
        """Return once `text` was printed, to either output. Fails when the command ends or `timeout` s pass before."""
        deadline = time.monotonic() + timeout
        while text not in self.out + self.err:
            late = time.monotonic() > deadline
            if late or not self.running:
                raise AssertionError(f"{text!r} was not printed\n{self.out}\n{self.err}")
            time.sleep(0.01)

    def end(self) -> None:
        """Kill every process of the run. Again is allowed."""
        for pid in {self.pid, *_marked(self.mark)} if self.running else _marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        self.end()
        if kind is not None:
            print(f"--- output of the run\n{self.out}\n--- errors of the run\n{self.err}", file=sys.stderr)
        for file in (self._out, self._err, self._in):
            file.close()


def start_command(
    *words: str, env: Mapping[str, str] | None = None, input: bytes | None = None, cwd: str | None = None
) -> Run:
    """Start any command line; its environment is ours without KEYFERRY_* variables, with UNVERIFIED and `env`."""
    return Run(words, env or {}, input, cwd)


def start_keyferry(
    *args: str, env: Mapping[str, str] | None = None, input: bytes | None = None, cwd: str | None = None
) -> Run:
    """Start `python -m keyferry args`, as `start_command` does."""
    return start_command(sys.executable, "-m", "keyferry", *args, env=env, input=input, cwd=cwd)


def run_keyferry(
    *args: str,
    env: Mapping[str, str] | None = None,
    timeout: float = 100,
    input: bytes | None = None,
    cwd: str | None = None,
) -> Result:
    """Run the command to its end; fails when it takes longer than `timeout` seconds, or leaves a process behind."""
    with start_keyferry(*args, env=env, input=input, cwd=cwd) as run:
        result = run.wait(timeout)
    assert not result.left, f"processes left over: {result.left}"
    return result


def clean_environment() -> dict[str, str]:
    """Our environment without the variables that give the command its options."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("KEYFERRY_", "REDISCLI_"))}


def children_of(pid: int) -> list[int]:
    """All descendants of a process that are not zombies, children first, those of a fork server included."""
    parents = {number: state for number in _numbers() if (state := _state(number)) is not None}
    found: list[int] = []
    layer = {pid}
    while layer:
        layer = {number for number, (parent, letter) in parents.items() if parent in layer and letter != "Z"}
        found += sorted(layer)
    return found


def worker_pids(pid: int) -> list[int]:
    """Those descendants that do work: neither the fork server, nor multiprocessing's resource tracker, nor guards."""
    helpers = {child for child in children_of(pid) if TRACKER in command_line(child)} | set(guard_pids(pid))
    servers = {child for child in children_of(pid) if FORK_SERVER in command_line(child) and _parent(child) == pid}
    return [child for child in children_of(pid) if child not in helpers | servers]


def guard_pids(pid: int) -> list[int]:
    """Those descendants that put settings back when the run is gone."""
    return [child for child in children_of(pid) if GUARD in command_line(child)]


def command_line(pid: int) -> bytes:
    """The words of a process's command line, each ended by a zero byte; nothing for one that is gone."""
    return _read(pid, "cmdline")


def environment(pid: int) -> bytes:
    """The environment that a process was started with, each variable ended by a zero byte."""
    return _read(pid, "environ")


def left_over(mark: str, within: float = GONE_S) -> list[int]:
    """Processes of the run with this mark still there after `within` seconds; empty as soon as all are gone."""
    deadline = time.monotonic() + within
    while (found := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def pid_of_local_port(port: int, among: list[int] | None = None) -> int | None:
    """The process of this machine whose TCP socket (IPv4) has `port` as its own end, None if we can see none.

    `among` these: connections to different servers may have the same port of ours, by chance and in any process.
    """
    inodes = _inodes_of_port(port)
    for pid in _numbers() if among is None else among:
        with contextlib.suppress(OSError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(handle) in inodes:
                        return pid
    return None


def _inodes_of_port(port: int) -> set[str]:
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port:
            found.add(f"socket:[{words[9]}]")
    return found - {"socket:[0]"}


def _marked(mark: str) -> list[int]:
    """Processes that inherited the mark; a zombie has no environment, and counts as gone."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _numbers() if wanted in _read(pid, "environ").split(b"\0")]


def _numbers() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:  # it went away, or is another user's
        return b""


def _state(pid: int) -> tuple[int, str] | None:
    """(parent, state letter); the program's name before them may hold spaces and parentheses."""
    words = _read(pid, "stat").rpartition(b")")[2].split()
    return (int(words[1]), words[0].decode()) if len(words) > 1 else None


def _parent(pid: int) -> int:
    state = _state(pid)
    return state[0] if state else 0


def _text(file: IO[bytes]) -> str:
    """What is in the file so far; read by position, since the process goes on writing at the shared one."""
    number = file.fileno()
    return os.pread(number, os.fstat(number).st_size, 0).decode("utf-8", "surrogateescape")


def pid_with_port(run: Run, port: int) -> int:
    """Which process of a run a local port belongs to."""
    pid = pid_of_local_port(port, children_of(run.pid))
    assert pid is not None, command_line(run.pid)
    return pid


def shell(text: str, *words: str, env: Mapping[str, str] | None = None) -> Result:
    """A line of bash in which KEYFERRY stands for the command with its words."""
    command = shlex.join([sys.executable, "-m", "keyferry", *words])
    with start_command("bash", "-c", text.replace("KEYFERRY", command), env=env) as run:
        ran = run.wait()
    assert not ran.left
    return ran
