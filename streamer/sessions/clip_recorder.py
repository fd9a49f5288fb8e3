"""Keep a clip of each emotion that starts: the publisher behind `record.clips`."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.events import EmotionStarted, Event, Info
from streamer.publish.publisher import PublisherStats
from streamer.sessions.clips import REVIEWED, About, clips_in, delete, total_bytes, write_clip

BEFORE_S = 4.0  # of the moment of decision: the window, and what led to it
AFTER_S = 2.0
PATIENCE_S = 3.0  # for the audio after it; a stream that was muted or lost meanwhile has less
LOOK_S = 0.25
MAX_WAITING = 100

# The ring's samples from a position on, as far as it holds them, and the position after them; None: no such stream.
Audio = Callable[[str, int], tuple[Samples, int] | None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A clip to be taken once its end was captured, or at the deadline."""

    event: EmotionStarted
    end: int  # position
    deadline: float  # monotonic


class ClipRecorder:
    """Implements `Publisher`: takes audio out of the streams' rings, where it is anyway, and keeps none besides.

    Args:
        folder: of the clips.
        max_bytes: of all clips; the oldest that nobody reviewed are removed.
        audio: reads a stream's ring.
        say: receives sentences for the user.
    """

    def __init__(self, folder: Path, max_bytes: int, audio: Audio, say: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._audio = audio
        self._say = say
        self._changed = threading.Condition()  # guards what follows
        self._wanted: deque[_Wanted] = deque()
        self._model = ""
        self._closing = False
        self._detail = ""
        self._sent = 0
        self._shed = 0
        self._thread = threading.Thread(target=self._run, name="clips", daemon=True)

    def start(self) -> None:
        """Begin to take clips."""
        self._thread.start()

    def publish(self, event: Event) -> None:
        """Want a clip of `event` where it is the start of an emotion; returns at once."""
        if isinstance(event, Info):
            self._model = event.model_sha256
        elif isinstance(event, EmotionStarted):
            end = round((event.start_s + AFTER_S) * SAMPLE_RATE)
            wanted = _Wanted(event, end, time.monotonic() + AFTER_S + PATIENCE_S)
            with self._changed:
                if self._closing or len(self._wanted) >= MAX_WAITING:
                    self._shed += 1
                    return
                self._wanted.append(wanted)
                self._changed.notify_all()

    def stats(self) -> PublisherStats:
        """Return the counters now."""
        with self._changed:
            return PublisherStats(
                not self._detail, str(self._folder), self._detail, self._sent, len(self._wanted), self._shed
            )

    def close(self) -> None:
        """Take what is there of the clips that are wanted, and end. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closing)
                if not self._wanted:
                    return
                wanted = self._wanted[0]
            samples = self._take(wanted)
            if samples is None:
                with self._changed:
                    self._changed.wait(LOOK_S)
                continue
            kept = self._keep(wanted.event, samples) if len(samples) else False
            with self._changed:
                self._wanted.popleft()
                self._sent += kept
                self._shed += not kept

    def _take(self, wanted: _Wanted) -> Samples | None:
        """Return the audio; None where its end is still to come."""
        start = max(0, wanted.end - round((BEFORE_S + AFTER_S) * SAMPLE_RATE))
        found = self._audio(wanted.event.stream, start)
        if found is None:
            return _NOTHING
        samples, after = found
        if after < wanted.end and time.monotonic() < wanted.deadline and not self._closing:
            return None
        return samples[: max(0, len(samples) - max(0, after - wanted.end))]

    def _keep(self, event: EmotionStarted, samples: Samples) -> bool:
        start_s = event.start_s + AFTER_S - len(samples) / SAMPLE_RATE
        about = About(
            event.stream, event.time, event.label, round(event.confidence, 4), event.id, round(start_s, 3), self._model
        )
        try:
            if not self._make_room(2 * len(samples)):
                return False
            write_clip(self._folder, about, samples)
        except (OSError, StreamerError) as error:
            self._complain(f"No clip is kept: {error}.")
            return False
        self._detail = ""
        return True

    def _make_room(self, needed: int) -> bool:
        """Remove the oldest clips that nobody reviewed until `needed` bytes more keep to the bound."""
        too_much = total_bytes(self._folder) + needed - self._max_bytes
        if too_much <= 0:
            return True
        for clip in clips_in(self._folder):
            if clip.reviewed is None:
                too_much -= clip.path.stat().st_size
                delete(self._folder, clip)
            if too_much <= 0:
                return True
        megabytes = self._max_bytes / 1e6
        self._complain(
            f"{self._folder} is full with {megabytes:,.0f} MB of clips that were reviewed, so no more are kept; move "
            f"them and {REVIEWED} away, or raise record.clips_max_mb."
        )
        return False

    def _complain(self, sentence: str) -> None:
        if sentence != self._detail:
            logger.warning("%s", sentence)
            self._say(sentence)
        self._detail = sentence


_NOTHING: Samples = np.zeros(0, dtype=np.float32)
