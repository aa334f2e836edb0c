"""The end of a live copy from replicas: they are waited for, but not for ever, and not against the user's will."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from keyferry.catching_up import WITHIN_S, catch_up
from keyferry.partitioners.control import Control
from keyferry.partitioners.replicas import Pair
from keyferry.signals import Signals, ending_live
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import NotConverged
from tests.conftest import ServerFactory
from tests.support.live import wait_until
from tests.support.replication import MASTER, follow, offset_of
from tests.support.servers import free_port


@pytest.fixture
def behind(server: ServerFactory) -> Iterator[Pair]:
    """A replica that will never have what its master has: it has lost it."""
    master, replica = server("7.0", *MASTER), server("7.0", fresh=True)
    follow(replica, master)
    replica.call("REPLICAOF", "127.0.0.1", free_port())
    master.call("SET", "late", "1")
    wait_until(lambda: offset_of(master) > offset_of(replica))
    pair = Pair("", *(Control(Endpoint(port=one.port), "source") for one in (master, replica)))
    yield pair
    pair.master.close()
    pair.replica.close()


def test_a_signal_ends_the_wait_and_so_does_time(behind: Pair) -> None:
    with pytest.raises(NotConverged, match="bytes behind its master"):
        catch_up([behind], Signals(), print, set(), within_s=0.1)
    with Signals() as signals:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        began = time.monotonic()
        assert catch_up([behind], ending_live(signals), print, set()) == signal.SIGTERM
    assert time.monotonic() - began < WITHIN_S / 2


def test_ctrl_c_has_asked_to_cut_over_which_needs_the_replicas(behind: Pair) -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(NotConverged):
            catch_up([behind], ending_live(signals), print, set(), within_s=0.1)


def test_a_master_that_does_not_tell_is_warned_of_once() -> None:
    said: list[str] = []
    told: set[str] = set()
    gone = [Control(Endpoint(port=free_port()), "source") for _ in range(2)]
    for control in (gone[0], gone[0], gone[1]):
        assert catch_up([Pair("", control, control)], Signals(), said.append, told) == 0
    assert len(said) == 2 and all("is not known" in text for text in said)
