"""The `Publisher` protocol: takes events from the worker and sends them out of the program."""

from dataclasses import dataclass
from typing import Protocol

from streamer.events import Event


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """Counts of the events passed to a publisher, and the state of its connection."""

    online: bool
    url: str  # of the receiver, without a password
    detail: str  # why not online, or what the receiver refuses, in one sentence; empty when all is well
    sent: int
    queued: int
    shed: int
    refused: int = 0  # set aside because the receiver does not take them
    notice: str = ""  # what else the user should know, in one sentence


class Publisher(Protocol):
    """Takes events from the worker's thread and never blocks it."""

    def start(self) -> None:
        """Begin to send, in a thread of its own where sending can block."""
        ...

    def publish(self, event: Event) -> None:
        """Queue one event; return at once whatever the receiver does."""
        ...

    def stats(self) -> PublisherStats:
        """Return the counters now."""
        ...

    def close(self) -> None:
        """Send what can be sent within a second, announce the end, release everything. Safe to call twice."""
        ...
