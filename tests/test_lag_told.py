"""How far replicas were behind, as the summary tells it: of the whole run, not of its last phase."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from keyferry.copying import Copy
from keyferry.grammar import from_python
from keyferry.logs import WARNING, Log
from keyferry.partitioners.replicas import Standing
from keyferry.partitioners.server import Server
from keyferry.signals import Signals
from keyferry.survey import Controls
from keyferry.workers.endpoint import Endpoint


def plan_that_reads(port: int) -> Any:
    standing = Standing("slave", "run", "replid", 0, link_up=True, loading=False, link_id=1, master=("127.0.0.1", 1))
    replica = Server(Endpoint(port=port), "source", standing=standing, master=Endpoint(port=1), lag_bytes=7)
    survey = SimpleNamespace(sources=[replica], targets=[Server(Endpoint(port=9), "target")])
    return SimpleNamespace(survey=survey, setup=None)


@pytest.mark.parametrize(("port", "most"), [(2, 500), (3, 7)], ids=["the same replica", "another one"])
def test_the_largest_lag_of_an_earlier_phase_is_not_forgotten(port: int, most: int) -> None:
    copy = Copy(from_python("replicate", ["redis://127.0.0.1:2", "redis://127.0.0.1:9"]), Log(WARNING), Signals())
    nobody = Controls([], [])
    first = copy.look_out(plan_that_reads(2), nobody)
    assert first is not None
    first.replicas[0].most, first.replicas[0].last = 500, 20
    second = copy.look_out(plan_that_reads(port), nobody)
    assert second is not None
    second.close()
    lag = second.replicas[0].lag
    assert (lag.most, lag.last) == (most, 20 if most == 500 else 7)
