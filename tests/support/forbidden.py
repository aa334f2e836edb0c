"""A source whose user may not read all of its keys."""

from __future__ import annotations

from .servers import Server

#: Lines of an ACL file: whoever logs in as `bob` sees a part of the keys.
USERS = ("user default on nopass ~* &* +@all", "user bob on >pw ~open:* &* +@all")
#: Keys that he may not read.
FORBIDDEN = (b"secret:string", b"secret:hash", b"secret:expiring")


def write_with_forbidden(source: Server) -> None:
    """350 keys that he may read, and these."""
    with source.connect() as connection:
        connection.pipeline([("SET", b"open:%d" % number, b"value") for number in range(300)])
        connection.pipeline([("HSET", b"open:hash:%d" % number, b"field", b"value") for number in range(50)])
        connection.must("SET", "secret:string", "value")
        connection.must("HSET", "secret:hash", "field", "value")
        connection.must("SET", "secret:expiring", "value", "PX", 10_000_000)
