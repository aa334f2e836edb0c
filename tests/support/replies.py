"""Replies as servers send them, and strategies that make some."""

from __future__ import annotations

from hypothesis import strategies as st


def wire(reply: object) -> bytes:
    """A reply as a server sends it."""
    if isinstance(reply, str):
        return b"-%b\r\n" % reply.encode()
    if isinstance(reply, bytes):
        return b"+OK\r\n" if reply == b"OK" else b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, tuple):
        return b"*%d\r\n" % len(reply) + b"".join(map(wire, reply))
    return b"$-1\r\n" if reply is None else b":%d\r\n" % reply


OKS = st.just(b"OK")
ERRORS = st.just("MOVED 1 127.0.0.1:7000")
#: Values that look like what a reply is framed by.
TRICKS = st.sampled_from([b"+OK\r\n", b"OK\r\n", b"$16\r\n", b"\r\n", b"\n", b"*2\r\n", b""])
INTEGERS = st.integers(-1, 1 << 40) | st.integers(-(1 << 63), (1 << 63) - 1)
SINGLE = st.one_of(OKS, OKS, OKS, ERRORS, st.none(), INTEGERS, st.binary(max_size=40), TRICKS)
NESTED = st.recursive(SINGLE, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)
#: A time that values with an expiry are made for, ms.
NOW_MS = 1_790_000_000_000


def time_reply(now_ms: int) -> tuple[bytes, bytes]:
    """What TIME answers then."""
    return b"%d" % (now_ms // 1000), b"%d" % (now_ms % 1000 * 1000 + 999)
