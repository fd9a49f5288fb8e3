"""The thread of one attempt."""

import threading
from queue import Empty

import numpy as np
import pytest

from streamer.sources.connection import ConnectionLostError, Received
from streamer.sources.receiver import QUEUE_BLOCKS, Arrived, Item, Lost, Opened, Receiver
from tests.sources.playing import wait_for

BLOCK = Received(np.zeros((480, 1), dtype=np.float32), 24_000.0)


class FakeConnection:
    """Implements `Connection`: delivers `blocks` blocks, then `end`."""

    length_s: float | None = None
    on_demand = False

    def __init__(self, blocks: int, end: Exception | None = None) -> None:
        self._left = blocks
        self._end = end
        self.closed = threading.Event()

    def read(self) -> Received | None:
        if self._left == 0:
            if self._end is not None:
                raise self._end
            return None
        self._left -= 1
        return BLOCK

    def close(self) -> None:
        self.closed.set()


def items_of(receiver: Receiver) -> list[Item]:
    wait_for(lambda: not receiver.alive())
    items = []
    while True:
        try:
            items.append(receiver.items.get_nowait())
        except Empty:
            return items


def test_what_a_connection_delivers_is_queued_in_order_and_its_end_comes_last() -> None:
    connection = FakeConnection(3)
    opened, *blocks, lost = items_of(Receiver(lambda: connection, "yard"))
    assert opened == Opened(None, False)
    assert [type(block) for block in blocks] == [Arrived] * 3
    assert lost == Lost("ended the stream", at_end=True)
    assert connection.closed.is_set()


def test_a_connection_that_breaks_is_closed_and_says_why() -> None:
    connection = FakeConnection(1, ConnectionLostError("broke off", permanent=True))
    assert items_of(Receiver(lambda: connection, "yard"))[-1] == Lost("broke off", permanent=True)
    assert connection.closed.is_set()


def test_a_defect_is_a_loss_whose_message_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    def connect() -> FakeConnection:
        raise RuntimeError("rtsp://eva:secret@cam/yard")

    (lost,) = items_of(Receiver(connect, "yard"))
    assert lost == Lost("failed on an internal error (RuntimeError)")
    assert "secret" not in caplog.text


def test_a_connection_that_nobody_reads_from_waits_and_can_be_cancelled() -> None:
    connection = FakeConnection(10 * QUEUE_BLOCKS)
    receiver = Receiver(lambda: connection, "yard")
    wait_for(lambda: receiver.items.full())
    assert receiver.alive()
    receiver.cancel()
    wait_for(connection.closed.is_set)
    wait_for(lambda: not receiver.alive())
