"""What filters choose at the target: the copies of the keys that they choose at the source, and no others."""

from __future__ import annotations

import pytest

from tests.conftest import ServerFactory
from tests.support.disguises import ClockSkew
from tests.support.respproxy import Proxy
from tests.test_compare import compared, verdict_of

HOUR_S = 3600


@pytest.mark.parametrize(
    ("ahead_s", "filter", "lives_s"),
    [(HOUR_S, ("--max-ttl", "10m"), 300), (-HOUR_S, ("--min-ttl", "90m"), 2 * HOUR_S)],
    ids=["ahead", "behind"],
)
def test_a_key_that_only_the_target_has_is_chosen_by_the_targets_clock(
    ahead_s: int, filter: tuple[str, ...], lives_s: int, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    now_s, _ = target.client.time()
    target.client.set("extra", "value", exat=now_s + ahead_s + lives_s)
    with Proxy(target, ClockSkew(ahead_s)) as proxy:
        ran = compared(source, proxy, *filter)
    assert (ran.code, verdict_of(ran)) == (1, "OK:0 V:0 >:0 <:1 T:0"), ran.out
