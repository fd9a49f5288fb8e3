"""Between a shard's monitor and its publishers: closed without a tenure, and it keeps what the shard reports."""

import threading
from collections import Counter
from collections.abc import Callable

from streamer.events import Event, Health, Info, Window
from streamer.publish.publisher import Publisher, PublisherStats


class Gate:
    """Implements `Publisher`: passes events on while `is_open`, and counts those that it does not.

    Args:
        publishers: get the events.
        is_open: is asked at each event.
    """

    def __init__(self, publishers: tuple[Publisher, ...], is_open: Callable[[], bool]) -> None:
        self._publishers = publishers
        self._is_open = is_open
        self._changed = threading.Condition()
        self._roster: frozenset[str] = frozenset()
        self._health: dict[str, Health] = {}
        self.counts: Counter[str] = Counter()  # windows, dropped

    def start(self) -> None:
        """Start the publishers."""
        for publisher in self._publishers:
            publisher.start()

    def publish(self, event: Event) -> None:
        """Pass one event on."""
        if isinstance(event, Info):
            with self._changed:
                self._roster = frozenset(event.streams)
                self._health = {name: health for name, health in self._health.items() if name in self._roster}
                self._changed.notify_all()
        elif isinstance(event, Health):
            with self._changed:
                self._health[event.stream] = event
        if not self._is_open():
            self.counts["dropped"] += 1
            return
        self.counts["windows"] += isinstance(event, Window)
        for publisher in self._publishers:
            publisher.publish(event)

    def health(self) -> dict[str, Health]:
        """Return the newest health of each stream."""
        with self._changed:
            return dict(self._health)

    @property
    def roster(self) -> frozenset[str]:
        """The streams that the worker runs."""
        return self._roster

    def wait_until_gone(self, streams: frozenset[str], within_s: float) -> bool:
        """Wait until the worker has ended these streams; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not streams & self._roster, within_s)

    def stats(self) -> PublisherStats:
        """Return the counters of the first publisher."""
        return self._publishers[0].stats() if self._publishers else PublisherStats(True, "nowhere", "", 0, 0, 0)

    def close(self) -> None:
        """Close the publishers."""
        for publisher in self._publishers:
            publisher.close()
