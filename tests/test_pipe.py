"""The pipe between the coordinator and its processes: messages arrive whole, and nobody waits for who waits for him."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.workers.pipe import Pipe, waiting

#: More than the kernel keeps of what is sent and not read.
LARGE = b"x" * (4 << 20)


def pair(patience_s: float = 5.0) -> tuple[Pipe, Pipe]:
    """The coordinator's end, and a worker's."""
    ours, theirs = socket.socketpair()
    return Pipe(ours, patience_s), Pipe(theirs)


@given(st.lists(st.binary(max_size=300) | st.sampled_from([b"", LARGE[:100_000]]), max_size=20))
def test_messages_arrive_whole_and_in_order(messages: list[bytes]) -> None:
    ours, theirs = pair()
    sender = threading.Thread(target=lambda: [theirs.send(message) for message in messages])
    sender.start()
    assert [ours.receive() for _ in messages] == messages
    sender.join()
    theirs.close()
    with pytest.raises(EOFError):
        ours.receive()
    ours.close()


def test_two_that_send_each_other_much_at_once_do_not_wait_for_each_other() -> None:
    ours, theirs = pair()
    came: list[bytes] = []

    def work() -> None:
        theirs.send(LARGE + b"report")
        theirs.send(b"another")
        came.append(theirs.receive())

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.05)  # it waits for us to read
    ours.send(LARGE + b"order")
    worker.join(20)
    assert came == [LARGE + b"order"]
    assert waiting([ours], 0) == [ours]
    assert [ours.receive(), ours.receive()] == [LARGE + b"report", b"another"]
    assert waiting([ours], 0) == []
    ours.close()
    theirs.close()


def test_who_takes_nothing_or_stops_in_the_midst_of_a_message_counts_as_gone() -> None:
    ours, theirs = pair(patience_s=0.1)
    with pytest.raises(TimeoutError):
        ours.send(LARGE)
    theirs.sock.send(b"\0\0\0\5ab")
    with pytest.raises(TimeoutError):
        ours.receive()
    ours.close()
    theirs.close()


def test_an_end_that_is_closed_is_noticed_by_all() -> None:
    ours, theirs = pair()
    theirs.close()
    assert waiting([ours], 5) == [ours]
    with pytest.raises(EOFError):
        ours.receive()
    with pytest.raises(OSError):
        ours.send(LARGE)
    ours.close()
