"""The fork server: a small process that has nothing but the worker's modules loaded, and forks the workers.

They start in milliseconds, and never beside the coordinator's threads. This module imports little, so that the fork
server can be started first and load what it needs while the command finds out about the servers.

It is the standard library's. What `multiprocess` has beyond it is dill, which three processes would load at each start,
to pickle the names of two functions.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from .signals import ENDING
from .workers.errors import RunError

PROC = Path("/proc")
#: A socket's path is shorter than this; the standard library's part of that of the fork server takes so much.
PATH_MAX, SOCKET_ROOM = 108, len("/pymp-12345678/listener-12345678")
#: For glibc's allocator (mallopt(3); others do not look): memory that a window of values needed is kept for the next
#: window. It would give anything above 128 KiB back to the kernel, and take each page again with a fault.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "8388608", "MALLOC_MMAP_THRESHOLD_": "4194304"}


def begin() -> Any:
    """Start the fork server, if it is not there; gives the context whose processes it forks.

    A terminal's Ctrl-C reaches every process; what is blocked here is inherited, so that signals to the whole group
    end neither the fork server nor new workers. What comes meanwhile is delivered to us afterwards. The resource
    tracker comes first, as starting it unblocks signals. Raises RunError where the system gives no process.
    """
    _leave_anothers()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keyferry.workers.loop"])
    with refused_by_the_system():
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        with refused_by_the_system(), _environment(KEEP_MEMORY), _short_folder():
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@contextlib.contextmanager
def refused_by_the_system() -> Iterator[None]:
    """Within `with` a process is started: raises RunError where the system has no room for it."""
    try:
        yield
    except (OSError, EOFError) as error:  # the second one: the fork server has died of it
        reason = getattr(error, "strerror", None) or "the system refuses"
        hint = "use fewer --workers, or see ulimit -n and ulimit -u"
        raise RunError(f"a process cannot be started: {reason}", hint=hint) from error


def _leave_anothers() -> None:
    """A process that was forked from one with a fork server, as those of a pool are, has to start its own.

    The standard library would wait for that of its parent, as if it were a child.
    """
    state: Any = forkserver._forkserver
    if state._forkserver_pid is None:
        return
    try:
        os.waitid(os.P_PID, state._forkserver_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        os.close(state._forkserver_alive_fd)  # the parent's ends once nobody has this open any more
        state._forkserver_pid = state._forkserver_alive_fd = state._forkserver_address = None


def socket_folder(room: int) -> str:
    """The folder for temporary files, or a shorter one where a socket's path, so much longer, would become too long."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) + room < PATH_MAX else "/tmp"


@contextlib.contextmanager
def _short_folder() -> Iterator[None]:
    """The fork server's socket is made in the folder for temporary files, however long its path is."""
    usual = tempfile.gettempdir()
    tempfile.tempdir = socket_folder(SOCKET_ROOM)
    try:
        yield
    finally:
        tempfile.tempdir = usual


@contextlib.contextmanager
def _environment(defaults: dict[str, str]) -> Iterator[None]:
    """What starts here finds these variables, where the user has not set them."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def helpers_cpu_s() -> float:
    """Processor time of the fork server and its like; the workers' own reports tell that of the workers.

    0 where the system does not name children: not every kernel does, and some containers have no /proc.
    """
    ticks, children = 0, ""
    with contextlib.suppress(OSError):
        children = (PROC / f"self/task/{os.getpid()}/children").read_text()
    for pid in children.split():
        with contextlib.suppress(OSError):
            fields = (PROC / pid / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")
