"""Hyperloglogs: strings with registers, in one of two encodings (hyperloglog.c of the servers).

HYLL | 1 byte encoding | 3 bytes unused | 8 bytes cached cardinality | registers

dense    16,384 registers of 6 bits, the first one in the lowest bits of the first byte
sparse   runs: 00nnnnnn = n+1 zeros · 01nnnnnn nnnnnnnn = n+1 zeros · 1vvvvvnn = n+1 registers of value v+1
"""

from __future__ import annotations

HEADER_BYTES = 16
CACHE = slice(8, 16)  # little-endian; the highest bit says that it does not hold any more
STALE = 0x80
REGISTERS = 16384
DENSE, SPARSE = 0, 1
DENSE_BYTES = REGISTERS * 6 // 8


def is_one(value: bytes) -> bool:
    """Whether a string has the shape of a hyperloglog."""
    return registers(value) is not None


def what_differs(ours: bytes, theirs: bytes) -> str:
    """What clients see to differ between two hyperloglogs: the first register, or what PFCOUNT says; or ''.

    A cardinality that one side has yet to compute is no difference. Where both have one, PFCOUNT tells it as it stands.
    """
    one, other = registers(ours), registers(theirs)
    assert one is not None and other is not None
    if one != other:
        return next(f"register {n}" for n in range(REGISTERS) if one[n] != other[n])
    cached, also_cached = ours[CACHE], theirs[CACHE]
    both_hold = not (cached[-1] | also_cached[-1]) & STALE
    return "cached cardinality" if both_hold and cached != also_cached else ""


def registers(value: bytes) -> bytes | None:
    """The registers, a byte each; None where the string is no hyperloglog."""
    if len(value) < HEADER_BYTES or value[:4] != b"HYLL" or value[4] not in (DENSE, SPARSE):
        return None
    body = value[HEADER_BYTES:]
    found = _dense(body) if value[4] == DENSE else _sparse(body)
    return found if len(found) == REGISTERS else None


def _dense(body: bytes) -> bytes:
    if len(body) != DENSE_BYTES:
        return b""
    found = bytearray()
    for at in range(0, DENSE_BYTES, 3):
        three = body[at] | body[at + 1] << 8 | body[at + 2] << 16
        found += bytes((three & 63, three >> 6 & 63, three >> 12 & 63, three >> 18))
    return bytes(found)


def _sparse(body: bytes) -> bytes:
    found = bytearray()
    at = 0
    while at < len(body) and len(found) <= REGISTERS:
        code = body[at]
        if code & 0x80:
            found += bytes([(code >> 2 & 31) + 1]) * ((code & 3) + 1)
        elif code & 0x40:
            at += 1
            if at == len(body):
                return b""
            found += bytes(((code & 63) << 8 | body[at]) + 1)
        else:
            found += bytes((code & 63) + 1)
        at += 1
    return bytes(found)
