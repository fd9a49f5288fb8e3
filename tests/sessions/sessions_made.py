"""Journals for tests, written without a recorder, and a publisher that keeps what it gets."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamer.events import EmotionEnded, EmotionStarted, Event, Window, to_json
from streamer.publish.publisher import PublisherStats


def write_journal(path: Path, events: Iterable[Event]) -> Path:
    path.write_text("".join(to_json(event) + "\n" for event in events), encoding="utf-8")
    return path


def transitions(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, EmotionStarted | EmotionEnded)]


def as_from_a_file(events: Iterable[Event], computed_at: float) -> list[Event]:
    """The events as `--fast` gives them: no latencies, and the moment of computation for a time."""
    changed = []
    for event in events:
        event = replace(event, time=computed_at)  # type: ignore[call-arg]
        changed.append(replace(event, latency_ms=None) if isinstance(event, Window) else event)
    return changed


@dataclass
class Collected:
    """A publisher that keeps what it gets, and when."""

    events: list[Event] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)

    def start(self) -> None: ...

    def publish(self, event: Event) -> None:
        self.events.append(event)
        self.moments.append(time.monotonic())

    def stats(self) -> PublisherStats:
        return PublisherStats(True, "list", "", len(self.events), 0, 0)

    def close(self) -> None: ...
