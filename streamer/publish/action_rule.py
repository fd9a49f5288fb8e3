"""Decide when an action runs. No threads, no processes."""

import math
import time
from collections.abc import Callable
from datetime import datetime

from streamer.config_actions import ActionConfig, parse_hours
from streamer.events import EmotionEnded, EmotionStarted, Event, State, Transition, Window


class ActionRule:
    """One action's conditions, followed through the events of all streams.

    With `emotion_started` it runs once an emotion, as soon as that has been held for `min_duration_s` of audio with a
    confidence of `min_confidence`; an emotion that ends before is none. With both types it also runs at the end, and
    only where it ran at the start, so that what was switched on is switched off. With `emotion_ended` alone it runs at
    the end of what lasted and was sure enough.

    A start in quiet hours or within the cool-down is left out, not made up for.

    Args:
        table: the conditions.
        now: local time, for quiet hours.
        monotonic: for the cool-down.
    """

    def __init__(
        self,
        table: ActionConfig,
        now: Callable[[], datetime] = datetime.now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self._now, self._monotonic = now, monotonic
        self._quiet = [parse_hours(text) for text in table.quiet_hours]
        self._waiting: dict[str, EmotionStarted] = {}  # stream → an emotion that may still run it
        self._confidence: dict[str, float] = {}  # stream → of the emotion held
        self._started: dict[str, str] = {}  # stream → id of the emotion whose start ran it
        self._ran_at = -math.inf

    def due(self, event: Event) -> Transition | None:
        """Return the transition for which the action runs now, if it does."""
        match event:
            case EmotionStarted() if self._concerns(event):
                if "emotion_started" in self.table.on:
                    self._waiting[event.stream], self._confidence[event.stream] = event, event.confidence
                    return self._if_held(event.stream, event.start_s)
            case State() if event.stream in self._waiting:
                self._confidence[event.stream] = event.confidence or 0.0
            case Window() if event.stream in self._waiting:
                return self._if_held(event.stream, event.end_s)
            case EmotionEnded():
                return self._at_the_end(event)
        return None

    def _if_held(self, stream: str, position_s: float) -> EmotionStarted | None:
        """Return the start that waits on `stream` if it has been held for long and surely enough by then."""
        started, table = self._waiting[stream], self.table
        # A microsecond: sums of hops are not exact.
        if position_s - started.start_s < table.min_duration_s - 1e-6:
            return None
        if self._confidence[stream] < table.min_confidence:
            return None
        del self._waiting[stream]
        if not self._may_run():
            return None
        self._started[stream] = started.id
        return started

    def _at_the_end(self, ended: EmotionEnded) -> EmotionEnded | None:
        self._waiting.pop(ended.stream, None)
        ran_at_the_start = self._started.pop(ended.stream, None) == ended.id
        if "emotion_ended" not in self.table.on:
            return None
        if "emotion_started" in self.table.on:
            return ended if ran_at_the_start else None
        lasted = ended.duration_s >= self.table.min_duration_s and ended.peak_confidence >= self.table.min_confidence
        return ended if lasted and self._concerns(ended) and self._may_run() else None

    def _concerns(self, event: Transition) -> bool:
        labels, streams = self.table.labels, self.table.streams
        return (not labels or event.label in labels) and (not streams or event.stream in streams)

    def _may_run(self) -> bool:
        """Return whether it is neither quiet nor too soon; True counts as a run."""
        now = self._now().time()
        if any(begin <= now < end if begin < end else now >= begin or now < end for begin, end in self._quiet):
            return False
        moment = self._monotonic()
        if moment - self._ran_at < self.table.cooldown_s:
            return False
        self._ran_at = moment
        return True
