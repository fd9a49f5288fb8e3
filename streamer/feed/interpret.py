"""What may be said of a stream at one moment, the same on every screen."""

from streamer.events import Familiarity, Status
from streamer.feed.snapshot import Snapshot, StreamView

#: What is said of a voice that the model does not know well.
FAMILIARITY: dict[Familiarity | None, str] = {
    "new": "getting to know the voice",
    "unfamiliar": "unfamiliar voice or room: cautious",
}
#: Statuses in which audio is being processed.
CAPTURING: frozenset[Status] = frozenset({"warming", "live", "silence", "behind"})


def labels_of(snapshot: Snapshot, stream: StreamView | None) -> tuple[str, ...]:
    """Return the labels in the model's order; before `info` has arrived, in the order of a window's probabilities."""
    if snapshot.info is not None:
        return snapshot.info.labels
    if stream is not None and stream.window is not None and stream.window.probs is not None:
        return tuple(stream.window.probs)
    return ()


def current_label(stream: StreamView | None) -> str | None:
    """Return the tracker's current label; None where no audio is processed."""
    if stream is None or stream.state is None or stream.status not in CAPTURING:
        return None
    return stream.state.label


def is_held(stream: StreamView | None) -> bool:
    """Return whether the current label is held from before, while nobody speaks."""
    return stream is not None and stream.status == "silence" and current_label(stream) is not None


def inferred(stream: StreamView | None) -> bool:
    """Return whether the model named probabilities for the newest window of audio that is being processed."""
    if stream is None or stream.status not in CAPTURING:
        return False
    return stream.window is None or stream.window.probs is not None
