"""Large data sets of all types, with hash tags, into clusters, between clusters and back: see `scripts/soak`."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.conftest import ClustersFactory, ServerFactory
from tests.support.clusters import Cluster
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of

KEYS = 200_000


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_200_000_keys_of_all_types_arrive_everywhere_with_no_option_but_the_addresses(
    kind: str, server: ServerFactory, clusters: ClustersFactory
) -> None:
    three, two = clusters((kind, 3, 0), (kind, 2, 0))
    sides: list[Server | Cluster] = [server(kind), three, two, server(kind)]
    fill(sides[0], KEYS, tagged=0.3)
    for source, target in pairwise(sides):
        ran = run_keyferry("replicate", source.uri, target.uri, "--json", timeout=600)
        assert ran.code == 0, ran.err
        assert result_of(ran)["keys"] == KEYS
        assert_equal(source, target)
    assert_equal(sides[0], sides[-1])
