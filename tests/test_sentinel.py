"""Services that Sentinels watch: found, and followed when another server becomes the master."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.filling import write_strings
from tests.support.processes import run_keyferry, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.readme import README
from tests.support.sentinels import Sentinels
from tests.support.servers import Server

KEYS = 20_000


@pytest.fixture(scope="module")
def group() -> Iterator[Sentinels]:
    with Sentinels("7.0", password="data@pw", sentinel_password="s@pw") as found:
        yield found


def uri(group: Sentinels, service: str = "main") -> str:
    places = ",".join(one.address for one in group.sentinels)
    return f"redis+sentinel://:data%40pw@{places}/{service}?sentinel_pass=s%40pw"


def test_a_service_is_found_by_its_sentinels_with_both_passwords(group: Sentinels, server: ServerFactory) -> None:
    target = server("7.0")
    group.master.call("SET", "key", "value")
    ran = run_keyferry("replicate", uri(group), target.uri)
    assert ran.code == 0 and target.call("GET", "key") == b"value", ran.err
    assert group.master.address in ran.err
    assert "pw" not in ran.err.replace("--pass-file", "") + ran.out
    assert run_keyferry("ping", uri(group)).out.startswith(group.master.address)


def test_what_is_wrong_about_sentinels_is_told(group: Sentinels, server: ServerFactory) -> None:
    target, alone = server("7.0"), group.sentinels[0]
    cases = {
        (uri(group, "other"), target.uri): (3, "know no service 'other'", "they know main"),
        (f"redis://:s%40pw@{alone.address}", target.uri): (6, "a sentinel node", "redis+sentinel://"),
        (f"redis+sentinel://{target.address}/main", target.uri): (3, "not a Sentinel", ""),
        (target.uri, "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main"): (4, "the last of 2 Sentinels", "running"),
        (uri(group).replace("?sentinel_pass=s%40pw", ""), target.uri): (3, "not logged in", ""),
    }
    for words, (code, text, hint) in cases.items():
        ran = run_keyferry("replicate", *words)
        assert ran.code == code and text in ran.err and hint in ran.err, (words, ran.err)
    assert target.call("DBSIZE") == 0


def test_a_user_of_sentinels_needs_one_right_which_is_named_where_it_is_missing(
    group: Sentinels, server: ServerFactory
) -> None:
    target = server("7.0")
    places = ",".join(one.address for one in group.sentinels)
    service = f"redis+sentinel://:data%40pw@{places}/main?sentinel_user=app&sentinel_pass=pw"
    (rule,) = re.findall(r"A user of Sentinels needs `(.*?)`", README)
    for rights, code in (("-@all", 3), (rule, 0)):
        for one in group.sentinels:
            with one.connect() as connection:
                connection.must("ACL", "SETUSER", "app", "reset", "on", ">pw", rights)
        ran = run_keyferry("replicate", service, target.uri)
        assert ran.code == code, ran.err
        named = "permission refused: user app may not run SENTINEL GET-MASTER-ADDR-BY-NAME" in ran.err
        assert named == bool(code) == (f"hint: ACL SETUSER app {rule}" in ran.err)


#: Each takes ten seconds: two in continuous integration, the others by soak.
FAILOVERS = [("source", False), ("target", True), ("source", True), ("target", False)]


@pytest.mark.parametrize(
    ("side", "kill"),
    [pytest.param(*one, marks=[pytest.mark.soak] if at > 1 else []) for at, one in enumerate(FAILOVERS)],
)
def test_a_failover_in_the_midst_of_a_copy_is_followed(side: str, kill: bool, server: ServerFactory) -> None:
    """The other side is held meanwhile, by a proxy: the copy cannot come to its end before the failover has."""
    other: Server = server("7.0")
    held = "stall replies at reply MGET 10" if side == "target" else "stall requests at request MSET 10"
    with Sentinels("7.0", down_after_ms=1_000) as group, FaultProxy(other.port, held) as proxy:
        source = group.master if side == "source" else other
        write_strings(source, KEYS)
        behind = f"redis://{proxy.address}"
        ends = (group.uri, behind) if side == "source" else (behind, group.uri)
        with start_keyferry("replicate", *ends, "--batch", "100") as run:
            proxy.wait_until_fired(60)
            group.failover(kill=kill)
            proxy.release()
            ran = run.wait()
        assert ran.code == 0 and "the copy begins again" in ran.err, ran.err
        assert_equal(*((group.master, other) if side == "source" else (other, group.master)))
