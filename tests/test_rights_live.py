"""Rights of live copies: what is documented suffices; what is missing is named before anything is copied."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from keyferry.partitioners.rights import SOURCE, TARGET
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.processes import VERIFIED, Result, run_keyferry
from tests.support.readme import acl_lines, rows, section
from tests.support.servers import Server

FEEDS = {"tracking": ("--feed", "tracking"), "notifications": ("--feed", "notifications", "--enable-notifications")}
(NOTIFIED,) = re.findall(r"A feed of notifications also needs `(.*?)`", section("Permissions"))


def rules(side: str, feed: str) -> list[str]:
    """What README lists for a side of a live copy with that feed."""
    table = {
        row[0].replace("`", ""): row[1 + (SOURCE, TARGET).index(side)].replace("`", "")
        for row in rows(section("Permissions"))
    }
    line = next(line for line in acl_lines() if f"SETUSER {side} " in line).partition(" ~* ")[2]
    listed = [*line.split(), *table["--live"].split()]
    if feed == "notifications" and side == SOURCE:
        listed += [*NOTIFIED.split(), *table["--enable-notifications, where they are off"].split()]
    return listed


def known(kind: str, rule: str) -> bool:
    """6.2 does not know some; it lets them pass in a line for redis-cli only where the command is known."""
    return kind != "6.2" or rule not in ("+hpexpiretime", "+pexpiretime", "+client|no-touch", "+client|no-evict")


def grant(one: Server, allowed: list[str]) -> None:
    more = ["+pttl"] if one.kind == "6.2" else []
    words = [rule for rule in allowed if known(one.kind, rule)]
    assert one.call("ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", *words, *more) == b"OK"


def live(source: Server, target: Server, feed: str) -> Result:
    ends = [f"redis://app:pw@{one.address}" for one in (source, target)]
    return run_keyferry("replicate", *ends, "--live", "--idle-timeout", "300", *FEEDS[feed], env=VERIFIED)


@pytest.fixture(params=["6.2", "9.1"])
def pair(request: pytest.FixtureRequest, server: ServerFactory) -> Iterator[tuple[Server, Server]]:
    source, target = server(request.param, fresh=True), server(request.param, fresh=True)
    fill(source, 300)
    yield source, target


@pytest.mark.parametrize("feed", FEEDS)
def test_users_with_the_rights_of_readme_follow_and_prove(feed: str, pair: tuple[Server, Server]) -> None:
    source, target = pair
    grant(source, rules(SOURCE, feed))
    grant(target, rules(TARGET, feed))
    ran = live(source, target, feed)
    assert ran.code == 0, ran.err
    assert "not checked" not in ran.err
    assert_equal(source, target, ttl_tolerance_ms=20)


@pytest.mark.parametrize(
    ("rule", "told", "hint"),
    [
        ("+client|tracking", "run CLIENT TRACKING", "+client|tracking"),
        ("+psubscribe", "run PSUBSCRIBE", "+psubscribe"),
        ("allchannels", "subscribe to __keyspace@0__:*", "allchannels"),
        ("+config|set", "run CONFIG SET", "+config|set"),
        ("+unlink", "run UNLINK", "+unlink"),
    ],
)
def test_each_that_is_taken_away_is_named_before_anything_is_copied(
    rule: str, told: str, hint: str, pair: tuple[Server, Server]
) -> None:
    source, target = pair
    for one, side in zip(pair, (SOURCE, TARGET), strict=True):
        grant(
            one,
            [each for each in rules(side, "notifications") if each != rule]
            + ["resetchannels"] * (rule == hint == "allchannels"),
        )
    ran = live(source, target, "notifications")
    assert ran.code == (4 if rule == "+unlink" else 3), ran.err
    assert f"permission refused: user app may not {told}\n" in ran.err
    assert f"hint: ACL SETUSER app {hint}" in ran.err
    assert target.call("DBSIZE") == 0
    assert source.call("CONFIG", "GET", "notify-keyspace-events")[1] == b""
