"""The cipher suites of TLS 1.3, which Python's ssl lets nobody choose before 3.15.

OpenSSL has a function for it, and the context's address is the first thing in Python's own object. What came of it is
read back by Python's documented `get_ciphers`, so that a choice that had no effect is an error and not a surprise.
"""

from __future__ import annotations

import ssl

from .errors import UsageError


def restrict(context: ssl.SSLContext, names: str) -> None:
    """Let TLS 1.3 use these suites only, with colons between them. Raises UsageError."""
    wanted = names.split(":")
    if not _set(context, names) or [suite for suite in _suites(context) if suite not in wanted]:
        raise UsageError(
            f"--tls-ciphersuites {names!r}: OpenSSL does not take them",
            hint="openssl ciphers -tls1_3 -s lists the names",
        )


def _suites(context: ssl.SSLContext) -> list[str]:
    return [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"]


def _set(context: ssl.SSLContext, names: str) -> bool:
    if hasattr(context, "set_ciphersuites"):  # Python 3.15
        try:
            context.set_ciphersuites(names)
        except ssl.SSLError:
            return False
        return True
    import _ssl
    import ctypes

    try:
        function = ctypes.CDLL(_ssl.__file__).SSL_CTX_set_ciphersuites
    except (AttributeError, OSError):  # OpenSSL is part of this Python, and does not show its functions
        return False
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    address = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    return bool(function(address, names.encode()) == 1)
