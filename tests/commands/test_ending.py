"""A signal ends the program at whatever instruction of the main thread it comes."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from streamer.commands import run
from streamer.commands.ending import EndWish


@pytest.fixture(autouse=True)
def handlers_as_they_were() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class InterruptedEvent(threading.Event):
    """An event in which a signal arrives while the waiting thread has the event's lock."""

    def wait(self, timeout: float | None = None) -> bool:
        with self._cond:
            os.kill(os.getpid(), signal.SIGTERM)  # its handler runs before the next line
            time.sleep(0)
        return super().wait(timeout)


class IdleMonitor:
    """The part of a monitor that a run without a screen waits for; it never ends by itself."""

    idle_s = None

    def __init__(self) -> None:
        self.ended = InterruptedEvent()

    def notices(self) -> set[str]:
        return set()


@pytest.mark.timeout(20)
def test_a_termination_that_interrupts_the_wait_for_the_end_ends_it() -> None:
    run._wait(IdleMonitor(), EndWish())


def test_a_wish_is_seen_by_who_waits_and_by_who_looks() -> None:
    wish = EndWish()
    assert (wish.wait(0.01), wish.is_set()) == (False, False)
    threading.Timer(0.05, wish.set).start()
    assert wish.wait()
    assert (wish.wait(0.0), wish.is_set()) == (True, True)
