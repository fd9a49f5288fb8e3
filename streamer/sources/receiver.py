"""One attempt to receive from the network: a thread that opens a connection and queues what it delivers.

Opening and reading may block where nothing can interrupt them (a name server, a half-open connection), so that thread
is only asked to end; whoever asked does not wait for it.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Full, Queue
from typing import Protocol

from streamer.audio.clock import SYSTEM, Clock
from streamer.sources.connection import Connection, ConnectionLostError, Received

QUEUE_BLOCKS = 256  # 5 s in frames of 20 ms; when it is full, the connection is not read, and the server waits
PUT_S = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """The connection is open; audio has not come yet."""

    length_s: float | None  # of a recording
    on_demand: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """Frames, and when they arrived (monotonic)."""

    received: Received
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is over: the last item of an attempt."""

    reason: str  # half a sentence
    permanent: bool = False
    at_end: bool = False  # the stream ended in order, or its server was killed: the same thing from here


Item = Opened | Arrived | Lost


class Reception(Protocol):
    """What a supervisor sees of an attempt."""

    items: "Queue[Item]"

    def cancel(self) -> None:
        """Ask it to close the connection and end; return at once."""
        ...

    def alive(self) -> bool:
        """Return whether it still runs."""
        ...


class Receiver:
    """Implements `Reception`; runs from its creation on."""

    def __init__(self, connect: Callable[[], Connection], name: str, clock: Clock = SYSTEM) -> None:
        self.items: Queue[Item] = Queue(QUEUE_BLOCKS)
        self._connect = connect
        self._clock = clock
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"receive {name}", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask the thread to close the connection and end."""
        self._cancelled.set()

    def alive(self) -> bool:
        """Return whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            lost = self._receive()
        except ConnectionLostError as error:
            lost = Lost(str(error), error.permanent)
        except Exception as error:  # a defect must show on the screen; its message may hold the URL, so its kind alone
            logger.error("receiving failed on an internal error: %s", type(error).__name__)
            lost = Lost(f"failed on an internal error ({type(error).__name__})")
        self._put(lost)

    def _receive(self) -> Lost:
        connection = self._connect()
        try:
            self._put(Opened(connection.length_s, connection.on_demand))
            while not self._cancelled.is_set():
                received = connection.read()
                if received is None:
                    return Lost("ended the stream", at_end=True)
                self._put(Arrived(received, self._clock.monotonic()))
        finally:
            connection.close()
        return Lost("was closed")

    def _put(self, item: Item) -> None:
        """Queue `item`, waiting for room until cancelled."""
        while not self._cancelled.is_set():
            try:
                self.items.put(item, timeout=PUT_S)
                return
            except Full:
                continue
