"""The events that leave the worker: their values, their JSON, how a message is read, and its JSON Schema."""

from streamer.events.reading import MAX_BYTES, MalformedEventError, from_json
from streamer.events.values import (
    SCHEMA,
    STATUSES,
    EmotionEnded,
    EmotionStarted,
    Event,
    Familiarity,
    Health,
    Info,
    State,
    Status,
    Transition,
    Window,
)
from streamer.events.writing import iso_time, to_dict, to_json

__all__ = [
    "MAX_BYTES",
    "SCHEMA",
    "STATUSES",
    "EmotionEnded",
    "EmotionStarted",
    "Event",
    "Familiarity",
    "Health",
    "Info",
    "MalformedEventError",
    "State",
    "Status",
    "Transition",
    "Window",
    "from_json",
    "iso_time",
    "to_dict",
    "to_json",
]
