"""What a side's options say of TLS, the context that is made of them, and plain words for what goes wrong.

`ssl` is loaded only where TLS is used: each process makes its own context of the same settings. TLS 1.2 is the least;
the server's certificate and its name are checked unless the user says --insecure.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Tls:
    """TLS to one side, as the user wants it. Files and folders are absolute paths; "" leaves it to OpenSSL."""

    cacert: str = ""  # certificates of the authorities to trust, instead of this machine's
    cacertdir: str = ""  # a folder of such, named by hash (openssl rehash)
    cert: str = ""  # our own certificate, where the server asks for one
    key: str = ""  # the private key of it; "" = it is in the same file
    sni: str = ""  # the name to ask for and to check, instead of the host
    insecure: bool = False  # neither the certificate nor the name is checked
    tls_ciphers: str = ""  # of TLS 1.2
    tls_ciphersuites: str = ""  # of TLS 1.3


class TlsError(OSError):
    """TLS does not work with this server. `final`: another try would end alike."""

    def __init__(self, text: str, hint: str = "", final: bool = True) -> None:
        super().__init__(text)
        self.hint, self.final = hint, final


class WaitsForServer(BlockingIOError):
    """The handshake goes on when the server has answered; that there is room to send does not help."""


class _Encrypted(Exception):
    """A key that wants a passphrase."""


_PEM_HINT = "a PEM file is wanted: it begins with -----BEGIN"


# ---- the context ------------------------------------------------------------------------------------------------


@functools.cache
def context_of(tls: Tls) -> ssl.SSLContext:
    """The context for connections of a side, one a process. Raises UsageError naming the option and the file."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _check_name(tls.sni)
    _trust(context, tls)
    _present(context, tls)
    if tls.tls_ciphers:
        try:
            context.set_ciphers(tls.tls_ciphers)
        except ssl.SSLError:
            raise UsageError(
                f"--tls-ciphers {tls.tls_ciphers!r}: OpenSSL knows none of them",
                hint="openssl ciphers -tls1_2 lists the names",
            ) from None
    if tls.tls_ciphersuites:
        from .ciphersuites import restrict

        restrict(context, tls.tls_ciphersuites)
    return context


def _check_name(name: str) -> None:
    try:
        name.encode("idna")
    except UnicodeError:  # a part between dots is empty, or too long
        raise UsageError(
            f"--sni {name!r}: it is no host's name", hint="a name as in certificates, like db.example"
        ) from None


def _trust(context: ssl.SSLContext, tls: Tls) -> None:
    if not (tls.cacert or tls.cacertdir):
        context.load_default_certs()
        return
    if tls.cacert:
        _check_file("--cacert", tls.cacert)
        try:
            context.load_verify_locations(cafile=tls.cacert)
        except OSError:
            raise UsageError(f"--cacert {tls.cacert!r}: no certificate in it", hint=_PEM_HINT) from None
    if tls.cacertdir:
        _check_folder(tls.cacertdir)
        context.load_verify_locations(capath=tls.cacertdir)


def _check_folder(path: str) -> None:
    try:
        names = os.listdir(path)
    except OSError as error:
        raise UsageError(f"--cacertdir {path!r}: {error.strerror}", hint="a folder of certificates") from None
    if not any(re.fullmatch(r"[0-9a-f]{8}\.[0-9]+", name) for name in names):
        hint = f"openssl rehash {path} makes the names, like 1a2b3c4d.0, by which OpenSSL finds them"
        raise UsageError(f"--cacertdir {path!r}: no certificate is named by its hash", hint=hint)


def _present(context: ssl.SSLContext, tls: Tls) -> None:
    """Have our own certificate ready, for servers that ask for one."""
    if not tls.cert:
        return
    _check_file("--cert", tls.cert)
    if tls.key:
        _check_file("--key", tls.key)
    where = f"--key {tls.key!r}" if tls.key else f"--cert {tls.cert!r}"
    try:
        context.load_cert_chain(tls.cert, tls.key or None, password=_no_passphrase)
    except _Encrypted:
        text = f"{where}: the key needs a passphrase, and nobody is asked for it"
        raise UsageError(text, hint="openssl pkey -in KEY -out FILE writes it without one") from None
    except OSError as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            text = f"--cert {tls.cert!r} and its key do not belong together"
            raise UsageError(text, hint="--key FILE is the private key of the certificate") from None
        if b"-----BEGIN CERTIFICATE" not in _head(tls.cert):
            raise UsageError(f"--cert {tls.cert!r}: no certificate in it", hint=_PEM_HINT) from None
        raise UsageError(f"{where}: no private key in it that OpenSSL can use", hint=_PEM_HINT) from None


def _no_passphrase() -> str:
    raise _Encrypted


def _check_file(option: str, path: str) -> None:
    try:
        _head(path)
    except OSError as error:
        raise UsageError(f"{option} {path!r}: {error.strerror}", hint=_PEM_HINT) from None


def _head(path: str) -> bytes:
    """The beginning of a file; the private key may stand before the certificate."""
    with open(path, "rb") as file:
        return file.read(1 << 16)


# ---- what goes wrong --------------------------------------------------------------------------------------------

#: By X509_V_ERR_ numbers (OpenSSL's x509_vfy.h): what is wrong with the server's certificate, and what to do.
_CERTIFICATE = {
    9: ("its certificate is not valid yet", "compare the clocks of the server and of this machine"),
    10: ("its certificate has expired", "renew it at the server; is this machine's clock right?"),
    18: ("its certificate is signed by itself", "--cacert FILE: trust that certificate"),
    19: ("its certificate is signed by an unknown authority", "--cacert FILE: the authority's certificate"),
    20: ("its certificate is signed by an unknown authority", "--cacert FILE: the authority's certificate"),
    21: ("its certificate is signed by an unknown authority", "--cacert FILE: the authority's certificate"),
    23: ("its certificate was revoked", "renew it at the server"),
}
_OTHER_NAME = (62, 64)
#: By the reasons that OpenSSL gives, from their beginning; the first that fits.
_REASONS = (
    (r"WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL",
     "the server does not speak TLS there", "leave -t out, or write redis:// instead of rediss://"),
    (r"TLSV13_ALERT_CERTIFICATE_REQUIRED", "the server wants a certificate of ours", "--cert FILE and --key FILE"),
    (r"\w*ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_(EXPIRED|UNKNOWN|REVOKED)|ACCESS_DENIED)",
     "the server does not accept our certificate", "is it one that the server's authority has signed? (see --cert)"),
    (r"\w*ALERT_(HANDSHAKE_FAILURE|INSUFFICIENT_SECURITY)|NO_CIPHERS_AVAILABLE",
     "the server agrees to none of our ciphers, or wants a certificate of ours",
     "see --cert and --key, --tls-ciphers and --tls-ciphersuites"),
    (r"\w*ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE",
     "the server speaks no TLS from 1.2 on", "TLS 1.2 is the least"),
    (r"\w*UNRECOGNIZED_NAME", "the server does not know that name", "--sni NAME is the name to ask for"),
)  # fmt: skip


def explained(error: ssl.SSLError, name: str) -> TlsError:
    """The error in plain words; `name` is what the certificate had to be for."""
    code = getattr(error, "verify_code", 0)
    if code in _OTHER_NAME:
        hint = "--sni NAME: the name in its certificate, where that is the right server"
        return TlsError(f"TLS: its certificate is not for {name}", hint)
    if code:
        text, hint = _CERTIFICATE.get(code, (f"its certificate is refused: {error.verify_message}", "see --cacert"))  # type: ignore[attr-defined]
        return TlsError(f"TLS: {text}", hint)
    reason = error.reason or ""
    for pattern, text, hint in _REASONS:
        if re.match(pattern, reason):
            return TlsError(f"TLS: {text}", hint)
    return TlsError(f"TLS: {reason.replace('_', ' ').lower() or error}", final=False)


def ended_early() -> TlsError:
    """The server closed the connection before TLS was agreed on."""
    return TlsError(
        "TLS: closed by the server before it was agreed on", "does that port speak TLS? (see -t, rediss://)", False
    )


def no_answer() -> TlsError:
    """Nothing came back: a plain server takes our bytes for the beginning of a command, and waits for the rest."""
    hint = "does that port speak TLS? if not: leave -t out, or write redis:// instead of rediss://"
    return TlsError("TLS: no answer in time", hint, False)
