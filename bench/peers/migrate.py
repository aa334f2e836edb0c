"""The native peer: the source server itself sends the keys, by MIGRATE … COPY REPLACE KEYS; we only name them.

`migrate.py SOURCE_PORT TARGET_PORT BATCH`, both servers on 127.0.0.1. A server runs MIGRATE while it serves nobody
else, so a second connection would add nothing: one drives it, and its cost is a SCAN and a command a batch.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import hiredis

#: Both for one MIGRATE (the server's own limit, as milliseconds) and for one read of ours, seconds.
TIMEOUT_S = 100

#: Bytes of one read: a page of SCAN fits.
READ_BYTES = 1 << 18


class Source:
    """One connection to the source server; replies are values, error replies end the program."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._reader = hiredis.Reader()

    def call(self, *words: Any) -> Any:
        """The reply to one command of str and bytes."""
        self._socket.sendall(hiredis.pack_command(words))
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise SystemExit("the source closed the connection")
            self._reader.feed(data)
        if isinstance(reply, Exception):
            raise SystemExit(f"{words[0]!r}: {reply}")
        return reply


def copy(source: Source, target_port: str, batch: str) -> None:
    """Copy database 0, `batch` keys a command."""
    timeout_ms = str(TIMEOUT_S * 1000)
    cursor = b"0"
    while True:
        cursor, keys = source.call("SCAN", cursor, "COUNT", batch)
        if keys:
            source.call("MIGRATE", "127.0.0.1", target_port, "", "0", timeout_ms, "COPY", "REPLACE", "KEYS", *keys)
        if cursor == b"0":
            return


if __name__ == "__main__":
    source_port, to_port, keys_a_command = sys.argv[1:]
    copy(Source(int(source_port)), to_port, keys_a_command)
