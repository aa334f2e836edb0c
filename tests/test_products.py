"""What a server's product and version tell of it, and what they do not."""

from __future__ import annotations

import pytest

from keyferry.partitioners.server import Server
from keyferry.workers.endpoint import Endpoint


@pytest.mark.parametrize(
    ("product", "version", "expected"),
    [
        ("Redis", "7.2.4", False),
        ("Redis", "7.4.0", True),
        ("Valkey", "8.1.0", False),
        ("Valkey", "9.0.0", True),
        ("Redis", "", True),
        ("KeyDB", "6.3.4", True),  # its own count of versions, and EXPIREMEMBER since 6.0
        ("Kvrocks", "4.0.0", True),
    ],
)
def test_of_servers_with_a_count_of_their_own_nobody_knows_whether_fields_expire(
    product: str, version: str, expected: bool
) -> None:
    server = Server(Endpoint(), "source", product=product, version=version)
    assert server.fields_may_expire is expected
