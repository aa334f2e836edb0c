"""The rule that no key expires, and no field: it holds only as long as both sides say so (rule 24)."""

from __future__ import annotations

import json

import pytest

from keyferry.workers.compare import Comparison
from keyferry.workers.read import Method
from tests.conftest import ServerFactory
from tests.support.commands import at, compared, verdict_of
from tests.support.filling import write_strings
from tests.support.processes import run_keyferry
from tests.support.respproxy import Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.window_loop import Loop


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_expiry_that_comes_after_the_plan_is_seen_on_either_side(side: str, server: ServerFactory) -> None:
    """The plan has found no key with an expiry, so that none is asked for; what INFO says after the values decides."""
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 50)
    loop = Loop(source, [target], owners=None)
    loop.link.no_expiries = True
    settled: list[Comparison] = []
    try:
        loop.run_until(lambda: loop.link.ready)
        (source if side == "source" else target).call("PEXPIREAT", "key:5", 4_000_000_000_000)
        keys = [b"key:%d" % n for n in range(50)]
        Comparison(loop.link, keys, Method.MGET, settled.append).start()
        loop.run_until(lambda: bool(settled))
    finally:
        loop.close()
    assert [(one.key, one.kind) for one in settled[0].findings] == [(b"key:5", "expiry")]
    assert settled[0].counts.copied == 49


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_a_field_that_expires_after_the_plan_is_seen_on_either_side(
    kind: str, side: str, server: ServerFactory
) -> None:
    """The plan has found no field with an expiry, and HGETALL tells of none; what INFO says after it decides."""
    source, target = server(kind), server(kind)
    keys = [b"key:%d" % n for n in range(50)]
    for one in (source, target):
        for key in keys:
            one.call("HSET", key, "field", "value", "other", "value")
    loop = Loop(source, [target], owners=None)
    loop.link.no_field_expiries = True
    settled: list[Comparison] = []
    try:
        loop.run_until(lambda: loop.link.ready)
        (source if side == "source" else target).call("HPEXPIREAT", "key:5", 4_000_000_000_000, "FIELDS", 1, "field")
        Comparison(loop.link, keys, Method.MGET, settled.append).start()
        loop.run_until(lambda: bool(settled))
    finally:
        loop.close()
    assert [(one.key, one.kind) for one in settled[0].findings] == [(b"key:5", "value")]
    assert settled[0].counts.copied == 49


class LosesTheRight(Hooks):
    """Stands before a server, whose user may not ask for the expiries of fields any more once fields are asked for."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def on_command(self, args: Args) -> Args:
        if args[:2] in ([b"HMGET", b"hash"], [b"HSCAN", b"hash"]):
            self.server.call("ACL", "SETUSER", "default", "-hpexpiretime")
        return args


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_where_a_side_refuses_to_tell_when_fields_expire_nobody_says_that_they_never_do(
    kind: str, side: str, server: ServerFactory
) -> None:
    source, target = server(kind, fresh=True), server(kind, fresh=True)
    fields = [word for number in range(3_000) for word in (f"field:{number}", "x" * 40)]
    for one in (source, target):
        one.call("HSET", "hash", *fields)
    refusing = source if side == "source" else target
    refusing.call("HPEXPIREAT", "hash", 4_000_000_000_000, "FIELDS", 1, "field:7")
    with Proxy(refusing, LosesTheRight(refusing)) as proxy:
        ends = (proxy, target) if side == "source" else (source, proxy)
        ran = run_keyferry(*at(ends[0]), "compare", *at(ends[1]), "--json")
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["ok"], verify["unreadable"]) == (1, 0, 1), ran.err
    assert "hpexpiretime" in ran.err


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("kind", ["8.2", "9.1"])
def test_where_a_side_does_not_know_the_command_but_has_fields_that_expire_nobody_says_that_they_never_do(
    kind: str, side: str, server: ServerFactory
) -> None:
    renamed, other = server(kind, "--rename-command", "HPEXPIRETIME", ""), server(kind)
    for one in (renamed, other):
        one.call("HSET", "hash", "field", "value", "other", "value")
    renamed.call("HPEXPIREAT", "hash", 4_000_000_000_000, "FIELDS", 1, "field")
    ends = (renamed, other) if side == "source" else (other, renamed)
    ran = run_keyferry(*at(ends[0]), "compare", *at(ends[1]), "--json")
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["ok"], verify["unreadable"]) == (1, 0, 1), ran.err
    assert f"{side}: ERR unknown command" in ran.err


def test_where_no_field_expires_a_command_that_is_not_known_keeps_nobody_from_comparing(server: ServerFactory) -> None:
    source, target = server("8.2", "--rename-command", "HPEXPIRETIME", ""), server("8.2")
    fields = [word for number in range(3_000) for word in (f"field:{number}", "x" * 40)]
    for one in (source, target):
        one.call("HSET", "hash", *fields)
    assert verdict_of(compared(source, target)) == "OK:1 V:0 >:0 <:0 T:0"
