"""Certificates for tests, as files: one authority, and what it issues to servers and clients. Made by trustme."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

#: Whom a server's certificate names unless a test says otherwise.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its private key: paths of PEM files."""

    cert: str
    key: str


class Certificates:
    """An authority of its own in a folder; `cacert` is the file that makes a client trust it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.cacert = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.cacert)
        self.server = self.issue("server", *LOOPBACK)
        self.client = self.issue("client", "client.example")

    def issue(self, name: str, *identities: str, expired: bool = False) -> Pair:
        """A certificate for some hosts' names and addresses, in the files NAME.pem and NAME.key."""
        ended = datetime.datetime.now() - datetime.timedelta(days=1) if expired else None
        begun = ended - datetime.timedelta(days=10) if ended else None
        leaf = self._authority.issue_cert(*identities, not_before=begun, not_after=ended)
        pair = Pair(str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key"))
        leaf.private_key_pem.write_to_path(pair.key)
        for number, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(pair.cert, append=number > 0)
        return pair

    def words(self, pair: Pair | None = None, *, mutual: bool = False) -> list[str]:
        """What a server is started with besides its TLS port; `mutual`: it takes only clients of this authority."""
        pair = pair or self.server
        files = ["--tls-cert-file", pair.cert, "--tls-key-file", pair.key, "--tls-ca-cert-file", self.cacert]
        return [*files, "--tls-auth-clients", "yes" if mutual else "no"]
