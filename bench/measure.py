"""Runs one command and measures all of its processes: `python measure.py COMMAND …`, the result as JSON on stdout.

HOW IT WORKS. This process declares itself the reaper of all its descendants (PR_SET_CHILD_SUBREAPER), so also a fork
server and its workers, which are nobody's children once the command has ended, are waited for here. What the kernel
then says of "children" is the processor time of every process, to the microsecond. A thread looks at the tree all the
while, for the memory, and for a second figure of the processor time that does not depend on who reaps whom.

LIMITATIONS. The second figure misses what a process does between the last look and its end: it is a lower bound.
A peak of memory that is shorter than the time between two looks can be missed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

#: Between two looks at the processes, seconds. A look at four processes takes about 1 ms.
LOOK_S = 0.05

#: How long descendants may outlive the command, seconds; what is left then is killed and counted.
LEFT_S = 5.0

#: Output that is kept, bytes from the end.
OUTPUT_BYTES = 10_000

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """One run of a command. `left`: descendants that had to be killed. `out`, `err`: the ends of its output."""

    code: int
    seconds: float  # until the command itself has ended
    cpu_s: float  # of all processes, as the kernel counts them when they are waited for
    cpu_seen_s: float  # of all processes, as last seen in /proc
    machine_busy_s: float  # of all programs of this machine, theirs and others', until the command itself has ended
    pss_bytes: int  # highest sum over the processes at one moment
    left: int
    out: str
    err: str


class Watcher(threading.Thread):
    """Looks at all descendants of this process until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.pss_bytes = 0
        self._cpu_ticks: dict[int, int] = {}
        self._stop_asked = threading.Event()

    @property
    def cpu_s(self) -> float:
        """Processor time of all processes seen, each as of the last look at it."""
        return sum(self._cpu_ticks.values()) / _TICKS_A_SECOND

    def run(self) -> None:
        """Look, wait, look again."""
        while not self._stop_asked.wait(LOOK_S):
            pids = list(descendants(os.getpid()))
            self.pss_bytes = max(self.pss_bytes, sum(map(pss_bytes, pids)))
            for pid in pids:
                self._cpu_ticks[pid] = max(cpu_ticks(pid), self._cpu_ticks.get(pid, 0))

    def stop(self) -> None:
        """Return when no more looks are taken."""
        self._stop_asked.set()
        self.join()


def descendants(pid: int) -> Iterator[int]:
    """All processes below `pid`, ended ones that nobody has waited for included."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in map(int, _read(task / "children").split()):
            yield child
            yield from descendants(child)


def pss_bytes(pid: int) -> int:
    """The process' memory, a page shared by n processes counted as 1/n; 0 when it has ended."""
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_ticks(pid: int) -> int:
    """Processor time of one process, without its children; 0 when it has ended."""
    words = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(words[11]) + int(words[12]) if words else 0


def machine_busy_s() -> float:
    """Processor time of all programs since the machine started; stolen time counts."""
    user, nice, system, _idle, _iowait, interrupts, soft, stolen = map(int, _read(Path("/proc/stat")).split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / _TICKS_A_SECOND


def measured(words: list[str], folder: str | None = None) -> Measured:
    """As `measure`, in a process of its own, so that only the command's processes count; it runs in `folder`.

    Raises CalledProcessError where it cannot be started.
    """
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, cwd=folder)
    return Measured(**json.loads(done.stdout))


def measure(words: list[str]) -> Measured:
    """Run the command to its end, and then everything that it started. Raises OSError when it cannot be started."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        watcher = Watcher()
        watcher.start()
        busy_s, begun = machine_busy_s(), time.perf_counter()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        code = process.wait()
        seconds, busy_s = time.perf_counter() - begun, machine_busy_s() - busy_s
        watcher.stop()
        left = reap(LEFT_S)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = used.ru_utime + used.ru_stime
        return Measured(
            code, seconds, cpu_s, watcher.cpu_s, busy_s, watcher.pss_bytes, left, _end_of(out), _end_of(err)
        )


def reap(timeout_s: float) -> int:
    """Wait for all descendants; those that are there after `timeout_s` are killed. Gives the number of the killed."""
    deadline = time.monotonic() + timeout_s
    killed: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return len(killed)
        if time.monotonic() > deadline:
            for living in set(descendants(os.getpid())) - killed:
                killed.add(living)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(living, signal.SIGKILL)
        if not pid:
            time.sleep(0.005)


def become_reaper() -> None:
    """Make this process the parent of descendants whose own parent ends. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # the process ended while we looked
        return ""


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OUTPUT_BYTES))
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    become_reaper()
    print(json.dumps(asdict(measure(sys.argv[1:]))))
