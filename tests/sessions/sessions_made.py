"""Journals for tests: files written without a recorder."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from streamer.events import EmotionEnded, EmotionStarted, Event, Window, to_json


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
