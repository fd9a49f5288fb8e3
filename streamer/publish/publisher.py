"""The edge where events leave the program."""

from dataclasses import dataclass
from typing import Protocol

from streamer.events import Event


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """What became of the events handed over so far."""

    online: bool
    url: str  # where to, without a password
    detail: str  # why not online, in one sentence; empty when all is well
    sent: int
    queued: int
    shed: int


class Publisher(Protocol):
    """Takes events from the worker's thread and never makes it wait."""

    def start(self) -> None:
        """Begin sending, in a thread of its own where sending can block."""
        ...

    def publish(self, event: Event) -> None:
        """Hand over one event; returns at once whatever the receiver does."""
        ...

    def stats(self) -> PublisherStats:
        """The counters now."""
        ...

    def close(self) -> None:
        """Send what can be sent within a second, say goodbye, release everything. Safe to call twice."""
        ...
