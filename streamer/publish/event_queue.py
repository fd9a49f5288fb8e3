"""Events kept for a consumer in the same process."""

import threading
from collections import deque
from collections.abc import Iterator

from streamer.events import Event
from streamer.publish.publisher import PublisherStats

MAX_EVENTS = 10_000  # some 15 minutes of one stream: four windows, four states and a health event a second and more


class EventQueue:
    """Implements `Publisher`: a bounded queue that one consumer iterates over.

    A consumer that does not keep up costs the oldest events, which are counted as shed; `publish` never waits.
    """

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._events: deque[Event] = deque()
        self._max_events = max_events
        self._changed = threading.Condition()
        self._closed = False
        self._sent = 0
        self._shed = 0

    def start(self) -> None:
        """Do nothing: the consumer brings its own thread."""

    def publish(self, event: Event) -> None:
        """Append one event."""
        with self._changed:
            if self._closed:
                return
            if len(self._events) >= self._max_events:
                self._events.popleft()
                self._shed += 1
            self._events.append(event)
            self._changed.notify_all()

    def stats(self) -> PublisherStats:
        """Return the counters now; `sent` are the events that the consumer took."""
        with self._changed:
            return PublisherStats(not self._closed, "iterator", "", self._sent, len(self._events), self._shed)

    def close(self) -> None:
        """Accept no more events. The consumer still gets those that are queued."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Event]:
        """Yield events as they come, until the queue is closed and empty."""
        while True:
            with self._changed:
                # The wait has a limit so that Ctrl-C gets through on every platform.
                while not self._events and not self._closed:
                    self._changed.wait(0.5)
                if not self._events:
                    return
                event = self._events.popleft()
                self._sent += 1
            yield event
