"""Replaces addresses (host:port) in what servers tell about their cluster, and corrects the lengths of RESP strings.

Three ways in which an address is told:
 * as text, `host:port`: MOVED, ASK, CLUSTER NODES;
 * as a host and the port right behind it: CLUSTER SLOTS, SENTINEL;
 * as fields of a map, `port` before `ip` and `endpoint`: CLUSTER SHARDS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

#: Commands whose replies may hold addresses. Redirections may be the reply to any command.
TELLING = (b"CLUSTER", b"SENTINEL")
REDIRECTION = re.compile(rb"-(MOVED|ASK) ")
WRITTEN = re.compile(rb"([\w.:-]+):(\d+)")

Address = tuple[bytes, bytes]  # host, port


def address(text: str) -> Address:
    """host:port as two parts; a host may hold colons."""
    host, _, port = text.rpartition(":")
    return host.encode(), port.encode()


def translated(frame: bytes, name: bytes, pairs: Mapping[Address, Address]) -> bytes:
    """The reply `frame` to the command `name`, with addresses that are keys of `pairs` replaced by their values."""
    if name not in TELLING and not REDIRECTION.match(frame):
        return frame
    tokens = [[kind, _in_text(text, pairs)] for kind, text in _tokens(frame)]
    for at in range(len(tokens) - 1):
        host, port = tokens[at][1], tokens[at + 1][1]
        if new := pairs.get((host, port)):
            tokens[at][1], tokens[at + 1][1] = new
        elif host == b"port":
            _translate_fields(tokens, at, pairs)
    return b"".join(_token(kind, text) for kind, text in tokens)


def _translate_fields(tokens: list[list[bytes]], at: int, pairs: Mapping[Address, Address]) -> None:
    """Replace port, ip and endpoint of the map whose field `port` is at this place."""
    port = tokens[at + 1][1]
    for name in range(at + 2, min(at + 8, len(tokens) - 1), 2):
        new = pairs.get((tokens[name + 1][1], port))
        if tokens[name][1] in (b"ip", b"endpoint") and new:
            tokens[name + 1][1], tokens[at + 1][1] = new


def _in_text(text: bytes, pairs: Mapping[Address, Address]) -> bytes:
    def other(found: re.Match[bytes]) -> bytes:
        here = found.group(1), found.group(2)
        return b":".join(pairs.get(here, here))

    return WRITTEN.sub(other, text)


def _tokens(frame: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, text) of each element; the text of an array is its length, that of a bulk string its bytes."""
    at = 0
    while at < len(frame):
        end = frame.index(b"\r\n", at)
        kind, text = frame[at : at + 1], frame[at + 1 : end]
        at = end + 2
        if kind == b"$" and text != b"-1":
            text = frame[at : at + int(text)]
            at += len(text) + 2
            yield kind, text
        else:
            yield (b"", kind + text) if kind == b"$" else (kind, text)


def _token(kind: bytes, text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text) if kind == b"$" else kind + text + b"\r\n"
