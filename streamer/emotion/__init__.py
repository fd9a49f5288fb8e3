"""Frames to emotions: attention pooling, classifier, checkpoint, tracker, voice profiles.

May import `codec`, `audio.level` and the shared modules; it knows no source, no worker and no event. Invariants: a
window is pooled and classified the same offline and live; a checkpoint is checked in full before any of it is used, and
cannot run code; every emotion that the tracker starts has exactly one end.

The names are loaded on first use (PEP 562): the tracker needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.emotion.card import CheckpointCard
    from streamer.emotion.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
    from streamer.emotion.model import EmotionDetectionModel
    from streamer.emotion.pooling import AttentionPooling, SlidingWindow
    from streamer.emotion.tracker import ClaimRule, Observation, Tracker, TrackerOutput, TrackerSettings

_HOME = {
    "AttentionPooling": "pooling",
    "CheckpointCard": "card",
    "CheckpointError": "checkpoint",
    "ClaimRule": "tracker",
    "EmotionDetectionModel": "model",
    "Observation": "tracker",
    "SlidingWindow": "pooling",
    "Tracker": "tracker",
    "TrackerOutput": "tracker",
    "TrackerSettings": "tracker",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
}

__all__ = [
    "AttentionPooling",
    "CheckpointCard",
    "CheckpointError",
    "ClaimRule",
    "EmotionDetectionModel",
    "Observation",
    "SlidingWindow",
    "Tracker",
    "TrackerOutput",
    "TrackerSettings",
    "load_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'streamer.emotion' has no attribute {name!r}")
    return getattr(import_module(f"streamer.emotion.{_HOME[name]}"), name)
