"""Orders in which a live copy could leave an old value over a newer one, each forced on the real command.

`test_generations.py` has their like in a model of the rule; here are servers, processes and sockets, as in use. What
is read or written is held at a proxy until what must not overtake it has had its chance (`support/sequencer.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.live import Followed, feeds, lose_feeds, wait_until
from tests.support.proxy import FaultProxy
from tests.support.sequencer import KEYS, Command, Sequencer, under_test
from tests.support.servers import Server

#: Two databases are copied.
BOTH = ("--db-map", "0:0,1:1")


def becomes(value: str) -> Callable[[str], list[Command]]:
    return lambda key: [("HSET", key, "field", value)]


def removed(key: str) -> list[Command]:
    return [("DEL", key)]


# ---- a bulk write is held -------------------------------------------------------------------------------------------


def bulk_write_after_a_live_write(source: Server, target: Server) -> Followed:
    """bulk read → change → live read → live write → bulk write"""
    with Sequencer(source, target, hold="RESTORE") as steps:
        steps.change(becomes("new"))
        steps.wait_until_overtaken(to_the_last=True)
        steps.assert_nothing_came()
        return steps.end()


def delete_in_flight(source: Server, target: Server) -> Followed:
    """bulk read → delete → removal → bulk write"""
    with Sequencer(source, target, hold="RESTORE") as steps:
        steps.change(removed)
        steps.wait_until_overtaken(to_the_last=True)
        return steps.end()


def rename_in_flight(source: Server, target: Server) -> Followed:
    """bulk read → rename → the old name is removed, the new one written → bulk write of the old name"""
    with Sequencer(source, target, hold="RESTORE") as steps:
        steps.change(lambda key: [("RENAME", key, f"{key}:renamed")])
        steps.wait_until_overtaken(to_the_last=True)
        return steps.end()


def expiry_in_flight(source: Server, target: Server) -> Followed:
    """bulk read, without an expiry → the key gets one and expires → removal → bulk write of an immortal"""
    with Sequencer(source, target, hold="RESTORE") as steps:
        steps.change(lambda key: [("PEXPIRE", key, 1)])
        wait_until(lambda: source.call("EXISTS", *KEYS) == 0)
        steps.wait_until_overtaken(to_the_last=True)
        return steps.end()


def expiry_taken_back_in_flight(source: Server, target: Server) -> Followed:
    """bulk read, with an expiry → PERSIST → live write → bulk write, with the expiry"""
    mortal = lambda key: [("HSET", key, "field", "old"), ("EXPIRE", key, 3600)]  # noqa: E731
    with Sequencer(source, target, hold="RESTORE", write=mortal) as steps:
        steps.change(lambda key: [("PERSIST", key)])
        steps.wait_until_overtaken(to_the_last=True)
        return steps.end()


def move_in_flight(source: Server, target: Server) -> Followed:
    """bulk read → MOVE to another database → removal in this one → bulk write"""
    with Sequencer(source, target, *BOTH, hold="RESTORE", feed="notifications") as steps:
        steps.change(lambda key: [("MOVE", key, 1)])
        steps.wait_until_overtaken(to_the_last=True)
        return steps.end(0, 1, gaps=None)


def flush_in_flight(source: Server, target: Server) -> Followed:
    """bulk read → FLUSHDB → bulk write"""
    with Sequencer(source, target, hold="RESTORE") as steps:
        source.call("FLUSHDB")
        steps.run.wait_for_text("the source was flushed")
        return steps.end(gaps=1)


def flush_that_no_event_tells(source: Server, target: Server) -> Followed:
    """bulk read → FLUSHDB within a transaction, between two writes → bulk write"""
    with Sequencer(source, target, hold="RESTORE", feed="notifications") as steps:
        with source.connect() as connection:
            connection.pipeline([("MULTI",), ("SET", "in", "1"), ("FLUSHDB",), ("SET", "after", "1"), ("EXEC",)])
        steps.run.wait_for_text("the source was flushed")
        return steps.end(gaps=None)


def swap_in_flight(source: Server, target: Server) -> Followed:
    """bulk read → SWAPDB → bulk write"""
    with source.connect(1) as connection:
        connection.pipeline([("HSET", key, "field", "of the other database") for key in KEYS])
    with Sequencer(source, target, *BOTH, hold="RESTORE", feed="notifications") as steps:
        source.call("SWAPDB", "0", "1")
        steps.run.wait_for_text("SWAPDB at the source")
        return steps.end(0, 1, gaps=1)


def silent_change_of_streams(source: Server, target: Server) -> Followed:
    """bulk read of streams → XGROUP CREATE, which tracking does not tell → bulk write"""
    stream = lambda key: [("XADD", key, "1-1", "field", "value")]  # noqa: E731
    with Sequencer(source, target, hold="RESTORE", write=stream) as steps:
        with source.connect() as connection:
            connection.pipeline([("XGROUP", "CREATE", key, "group", "0") for key in KEYS])
        return steps.end()


# ---- a live write or removal is held --------------------------------------------------------------------------------


def two_live_writes(source: Server, target: Server) -> Followed:
    """change → live write is held → change → the next live write by the other worker"""
    with Sequencer(source, target) as steps:
        steps.hold_request("RESTORE")
        steps.change_to_hold(steps.to_target, becomes("first"))
        steps.change(becomes("second"))
        steps.wait_until_overtaken()
        steps.assert_nothing_came()
        return steps.end()


def set_after_a_removal(source: Server, target: Server) -> Followed:
    """delete → the removal is held → the key is written again → live write → removal"""
    with Sequencer(source, target) as steps:
        steps.hold_request("UNLINK")
        steps.change_to_hold(steps.to_target, removed)
        steps.change(becomes("new"))
        steps.wait_until_overtaken()
        steps.assert_nothing_came()
        return steps.end()


def hashes(source: Server, target: Server) -> Sequencer:
    """A live copy of hashes only."""
    return Sequencer(source, target, "--type", "hash", wave=lambda name: ("HSET", name, "field", "1"))


def string_and_hash_again(steps: Sequencer, proxy: FaultProxy) -> None:
    """The first change, to a string, waits at a proxy with what follows from it; the second one overtakes it."""
    steps.change_to_hold(proxy, lambda key: [("SET", key, "a string")])
    steps.change(lambda key: [("DEL", key), *becomes("new")(key)])
    steps.wait_until_overtaken()
    steps.assert_nothing_came()


def key_that_passes_the_filters_again(source: Server, target: Server) -> Followed:
    """a hash becomes a string → its removal is held → it is a hash again → live write → removal"""
    with hashes(source, target) as steps:
        steps.hold_request("UNLINK")
        string_and_hash_again(steps, steps.to_target)
        return steps.end()


def key_that_is_judged_late(source: Server, target: Server) -> Followed:
    """a hash becomes a string → the source says so, which is held → a hash again → live write → removal"""
    with hashes(source, target) as steps:
        steps.hold_reply("TYPE")
        string_and_hash_again(steps, steps.to_source)
        return steps.end()


def key_that_is_judged_late_and_stays(source: Server, target: Server) -> Followed:
    """the same where nothing may be removed: the news that it is still at the target must not outlive the live write"""
    target.call("SET", "theirs", "1")
    with hashes(source, target) as steps:
        steps.hold_reply("TYPE")
        string_and_hash_again(steps, steps.to_source)
        target.call("DEL", "theirs")
        return steps.end()


def two_changes_in_one_read(source: Server, target: Server) -> Followed:
    """change → live read, whose reply is held → change → the reply comes: the second change is not settled by it"""
    with Sequencer(source, target) as steps:
        steps.hold_reply("DUMP")
        steps.change_to_hold(steps.to_source, becomes("first"))
        steps.change(becomes("second"))
        steps.wait_until_overtaken()
        steps.assert_nothing_came()
        return steps.end()


def sweep_over_an_open_live_window(source: Server, target: Server) -> Followed:
    """live write is held → events are lost, with a change → the sweep reads and writes → live write"""
    with Sequencer(source, target) as steps:
        steps.change_one()
        steps.hold_request("RESTORE")
        steps.change_to_hold(steps.to_target, becomes("first"))
        known = feeds(source)
        steps.change(becomes("second"), before=tuple(("CLIENT", "KILL", "ID", feed) for feed in known))
        steps.wait_for_another_feed(known)
        steps.change(lambda key: [])
        steps.wait_until_overtaken()
        steps.assert_nothing_came()
        return steps.end(gaps=1)


# ---- a connection or a worker is given up ---------------------------------------------------------------------------


def worker_that_dies_with_a_live_write_under_way(source: Server, target: Server) -> Followed:
    """live write is held → its worker dies → change → live write by another → what the dead one sent arrives"""
    with Sequencer(source, target) as steps:
        steps.hold_request("RESTORE")
        steps.change_to_hold(steps.to_target, becomes("first"))
        steps.kill_the_held_worker()
        steps.change(becomes("second"))
        steps.wait_until_all_came()
        steps.release(given_up=True)
        return steps.end(gaps=None)


def worker_that_dies_with_names(source: Server, target: Server) -> Followed:
    """change → live read, whose reply is held → its worker dies, and nobody else knows of the change"""
    with Sequencer(source, target) as steps:
        steps.hold_reply("DUMP")
        steps.change_to_hold(steps.to_source, becomes("new"))
        steps.kill_the_held_worker()
        steps.wait_until_all_came()
        return steps.end(gaps=None)


def connection_that_is_given_up(source: Server, target: Server) -> Followed:
    """live write is held → no answer in time → again on a new connection → change, live write → the held one arrives"""
    with Sequencer(source, target, "-o", "1") as steps:
        steps.hold_request("RESTORE")
        steps.change_to_hold(steps.to_target, becomes("first"))
        steps.wait_until_all_came()
        steps.change(becomes("second"))
        steps.wait_until_all_came()
        steps.release(given_up=True)
        return steps.end(gaps=None)


INTERLEAVINGS: tuple[Callable[[Server, Server], None], ...] = (
    bulk_write_after_a_live_write,
    delete_in_flight,
    rename_in_flight,
    expiry_in_flight,
    expiry_taken_back_in_flight,
    move_in_flight,
    flush_in_flight,
    flush_that_no_event_tells,
    swap_in_flight,
    silent_change_of_streams,
    two_live_writes,
    set_after_a_removal,
    key_that_passes_the_filters_again,
    key_that_is_judged_late,
    key_that_is_judged_late_and_stays,
    two_changes_in_one_read,
    sweep_over_an_open_live_window,
    worker_that_dies_with_a_live_write_under_way,
    worker_that_dies_with_names,
    connection_that_is_given_up,
)
#: Like others in what they force: only scripts/soak makes these.
MORE = (
    expiry_taken_back_in_flight,
    flush_that_no_event_tells,
    silent_change_of_streams,
    key_that_passes_the_filters_again,
)


def cases() -> Iterator[Any]:
    """Each on one version in every run, and on all by scripts/soak."""
    for at, interleaving in enumerate(INTERLEAVINGS):
        for turn, kind in enumerate(KINDS):
            quick = interleaving not in MORE and at % len(KINDS) == turn
            name = f"{interleaving.__name__}-{kind}"
            yield pytest.param(interleaving, kind, id=name, marks=() if quick else pytest.mark.soak)


@pytest.mark.parametrize(("interleaving", "kind"), list(cases()))
def test_the_newest_value_wins(
    interleaving: Callable[[Server, Server], Followed], kind: str, server: ServerFactory
) -> None:
    done = interleaving(server(kind), server(kind))
    assert done.ran.code == 0 and done.live["converged"], done.ran.err


# ---- a pass that follows another ------------------------------------------------------------------------------------


def test_what_a_pass_has_sent_does_not_arrive_in_the_one_that_follows(server: ServerFactory) -> None:
    """live write is held → the feed meets another server, and the copy begins again → what is held arrives"""
    source, target, other = server("7.0"), server("7.0"), server("7.0")
    with other.connect() as connection:
        connection.pipeline([("HSET", key, "field", "newer") for key in KEYS])
    with Sequencer(source, target) as steps:
        steps.hold_request("RESTORE")
        steps.change_to_hold(steps.to_target, becomes("new"))
        steps.to_source.lead_to(other.port)
        lose_feeds(source)
        steps.source = other
        steps.wait_until_all_came()
        steps.release(given_up=True)
        done = steps.end(gaps=None)
    assert done.ran.code == 0 and done.live["converged"], done.ran.err
    assert "the copy begins again" in done.ran.err


# ---- one process behind a name -------------------------------------------------------------------------------------


def test_a_worker_that_is_led_to_another_process_copies_nothing_from_it(server: ServerFactory) -> None:
    """The feed and the coordinator stay with the first server: only the worker's new connection can tell."""
    source, target, other = server("7.0"), server("7.0"), server("7.0")
    with other.connect() as connection:
        connection.pipeline([("HSET", key, "field", "of another process") for key in KEYS])
    strangers = under_test(other)
    with Sequencer(source, target) as steps:
        steps.hold_reply("DUMP")
        steps.change_to_hold(steps.to_source, becomes("new"))
        steps.to_source.lead_to(other.port)
        (link,) = steps.to_source.stalled
        steps.to_source.kill(link)
        steps.run.wait_for_text("is another than when the copy began")
        assert not set(under_test(target).values()) & set(strangers.values())
        steps.to_source.lead_to(source.port)
        steps.wait_until_all_came()
        done = steps.end(gaps=None)
    assert done.ran.code == 0 and done.live["converged"], done.ran.err
