"""How a stretch of a stream's past divides: speech, each emotion, and how often they changed."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamer.feed.snapshot import TimelinePoint
from streamer.feed.track import HOLD_S, span_end


@dataclass(frozen=True, slots=True)
class Statistics:
    """The figures of one stretch of time."""

    heard_s: float  # covered by windows
    speech_s: float  # of those, with voice activity
    held_s: Mapping[str, float]  # label → seconds; labels that were never held are left out
    transitions: int  # emotions that started

    @property
    def transitions_an_hour(self) -> float | None:
        """Emotions that started in an hour of hearing; None where hardly anything was heard."""
        return self.transitions * 3600 / self.heard_s if self.heard_s >= 1 else None

    def share(self, label: str) -> float:
        """Return the share of the time heard in which `label` was held."""
        return self.held_s.get(label, 0.0) / self.heard_s if self.heard_s else 0.0


def statistics_of(points: Sequence[TimelinePoint], since: float, until: float) -> Statistics:
    """Return the figures between the two moments (seconds since the epoch)."""
    heard_s = speech_s = 0.0
    held_s: dict[str, float] = {}
    transitions = 0
    first = bisect_left(points, since - HOLD_S, key=lambda point: point.time)
    label = points[first - 1].label if first else None
    for index in range(first, len(points)):
        point = points[index]
        if point.time >= until:
            break
        length_s = max(0.0, min(until, span_end(points, index, until)) - max(since, point.time))
        heard_s += length_s
        speech_s += length_s * point.speech
        if point.label is not None:
            held_s[point.label] = held_s.get(point.label, 0.0) + length_s
            transitions += point.label != label and point.time >= since
        label = point.label
    return Statistics(heard_s, speech_s, held_s, transitions)
