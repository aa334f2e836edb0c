"""What a figure depends on: the machine and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import timeit
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keyferry.workers.compiled import BUILT
from tests.support.servers import Server

ROOT = Path(__file__).resolve().parents[1]

#: So many steps take some milliseconds: long enough for the clock, and hardly ever interrupted.
LOOP_STEPS = 200_000
#: What a run's figures depend on.
MEASURED = ("engine", "partitioners", "workers", "bench", "tests/support", "setup.py", "setup.cfg")

#: Packages whose versions matter to one tool or another.
PACKAGES = ("keyferry", "redis", "hiredis", "msgpack")


def machine() -> dict[str, Any]:
    """The processor, the cores that we may use, the memory, the kernel, the pace, the load before all began."""
    return {
        "cpu": _line_of("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int(_line_of("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "kernel": platform.release().partition("-")[0],
        "loop_ns": round(loop_ns(), 1),
        "load_average_at_start": [round(load, 2) for load in os.getloadavg()],
    }


def loop_ns() -> float:
    """A step of an empty loop in ns, the best of a few: how fast this machine is now, and how well Python is built."""
    return min(timeit.repeat("pass", number=LOOP_STEPS, repeat=5)) / LOOP_STEPS * 1e9


def versions(server: Server) -> dict[str, str]:
    """Python's version, those of PACKAGES, our commit, and what the server says that it is."""
    info = server.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    return {
        "python": sys.version.split()[0],
        **{package: version(package) for package in PACKAGES},
        "part_in_c": "yes" if BUILT else "no",
        "commit": _commit(),
        "server": f"{name} {info.get('valkey_version') or info['redis_version']}",
    }


def _line_of(path: str, name: str) -> str:
    """The rest of the first line that begins with `name`, empty without one."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line[len(name) :].strip(": \t")
    return ""


def _commit() -> str:
    """Our commit; `-dirty` where what is measured, or measures, is not as it is there."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED, ":!bench/results")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}-dirty" if changed else commit


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
