"""One stream as the worker sees it: its source, its counters, its tracker, and the events that come of its windows."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from streamer.arrays import Samples
from streamer.audio.meter import rms_and_peak_dbfs
from streamer.audio.ring import Chunk
from streamer.audio.source import Source, SourceState, SourceStatus
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.emotion.enrolment import Enrolment
from streamer.emotion.tracker import ClaimRule, Observation, Tracker, TrackerOutput, TrackerSettings
from streamer.events import EmotionEnded, EmotionStarted, Event, Health, State, Status, Window

if TYPE_CHECKING:  # it loads torch
    from streamer.pipeline.inference import WindowResult

BEHIND_S = 2.0  # a window skipped within this time means that the machine does not keep up
HEALTH_S = 1.0  # how often health is measured; publishers thin it out
MEMORY_S = 10.0  # time constant of the real-time factor, in seconds of audio

_WORDS: dict[SourceState, Status] = {
    "starting": "starting",
    "no signal": "no signal",
    "lost": "mic lost",
    "muted": "paused",
}


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What every stream of a worker shares."""

    labels: tuple[str, ...]
    window_frames: int
    hop_frames: int
    rule: ClaimRule
    tracker: TrackerSettings
    neutral_mean: tuple[float, ...] | None = None  # [128] what voice profiles differ from; None: there can be none

    @property
    def hop_s(self) -> float:
        """Seconds between two windows."""
        return self.hop_samples / SAMPLE_RATE

    @property
    def hop_samples(self) -> int:
        """Samples between two windows."""
        return self.hop_frames * FRAME_SAMPLES


@dataclass(slots=True)
class _Figures:
    """Counters and measurements for `Health`."""

    overwritten: int = 0
    skipped: int = 0
    compute_s: float = 0.0
    audio_s: float = 0.0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=500))

    def spent(self, compute_s: float, audio_s: float) -> None:
        keep = math.exp(-audio_s / MEMORY_S)
        self.compute_s = self.compute_s * keep + compute_s
        self.audio_s = self.audio_s * keep + audio_s


class StreamRuntime:
    """Owned by the worker's thread."""

    def __init__(self, source: Source, settings: StreamSettings, run_id: str) -> None:
        self.source = source
        self.name = source.name
        self.finished = False  # the source is over and its last window was emitted
        self.enrolment: Enrolment | None = None  # while the voice is being learnt
        self._settings = settings
        self._run_id = run_id
        self._tracker = Tracker(settings.rule, settings.tracker)
        self._figures = _Figures()
        self._began: float | None = None  # wall time of position 0 where the source has no capture clock
        self._origin = 0  # absolute position of the last reset
        self._latest = Chunk(0, np.zeros(0, dtype=np.float32), 0, False)
        self._seq = 0
        self._time = 0.0  # of the newest window: never runs backwards
        self._dropped = 0  # samples lost since the newest window
        self._transitions = 0
        self._open_id = ""
        self._status: Status = "starting"
        self._health_at = -math.inf
        self._skipped_at = -math.inf  # monotonic moment of the newest skipped window
        self._skipped_seen = 0
        self._newest: Window | None = None

    @property
    def exhausted(self) -> bool:
        """The source ended and everything in its ring was read."""
        ring = self.source.ring
        return ring.stats().ended and ring.available() == 0

    @property
    def hops_waiting(self) -> int:
        """Whole hops in the ring."""
        return self.source.ring.available() // self._settings.hop_samples

    def read(self, most_hops: int) -> Chunk | None:
        """The next whole hops, or what is left before a gap or at the end."""
        hop = self._settings.hop_samples
        chunk = self.source.ring.read(least=hop, most=hop * most_hops, multiple=hop)
        if chunk is not None:
            self._latest = chunk
            self._dropped += chunk.lost
            self._figures.overwritten += chunk.lost
        return chunk

    def pause(self) -> list[Event]:
        """Muted, or the device is lost: once all that came before was result, what is held is over."""
        silent = self.source.status().state in ("muted", "lost")
        if not silent or self.hops_waiting or self._newest is None:
            return []
        self._newest = None
        return self._changes(self._tracker.reset(self._time))

    def restart(self, chunk: Chunk, wall: float) -> list[Event]:
        """After a gap: windows begin anew at `chunk`, and what was open is over."""
        self._origin = chunk.start
        self._newest = None
        self._time = max(self._time, self._wall_time(chunk.start, wall))
        return self._changes(self._tracker.reset(self._time))

    def spent(self, compute_s: float, samples: int) -> None:
        """Note what a step over so many samples cost."""
        self._figures.spent(compute_s, samples / SAMPLE_RATE)

    def events_of(self, result: "WindowResult", wall: float) -> tuple[list[Event], TrackerOutput]:
        """What one window gives: transitions, the state, and the window itself, in this order."""
        end = self._origin + result.end
        self._time = max(self._time, self._wall_time(end, wall))
        observation = Observation(
            time=self._time,
            end_s=end / SAMPLE_RATE,
            probs=None if result.probs is None else dict(zip(self._settings.labels, result.probs, strict=True)),
            speech=result.speech,
            warming=result.frames < self._settings.window_frames,
        )
        output = self._tracker.update(observation)
        window = self._newest = self._window(result, observation, end, wall)
        self._seq += 1
        self._dropped = 0
        self._figures.skipped += result.skipped
        if window.latency_ms is not None:
            self._figures.latencies_ms.append(window.latency_ms)
        self._learn_voice(result, window)
        return [*self._changes(output), window], output

    def close(self) -> list[Event]:
        """End what is open: the stream stops."""
        if self._newest is None:
            return []
        return self._changes(self._tracker.close(self._time))

    def look(self, monotonic: float) -> tuple[Status, str, str]:
        """Status word, its sentence, and the device's name."""
        source = self.source.status()
        self._status = self._judge(source, monotonic)
        detail = source.detail
        if self._status == "behind":
            detail = "The machine does not keep up: windows are skipped. Use a longer hop_s, fewer streams or a GPU."
        return self._status, detail, source.device

    def health(self, wall: float, monotonic: float) -> Health | None:
        """How the stream is doing, when that is due."""
        if monotonic - self._health_at < HEALTH_S:
            return None
        self._health_at = monotonic
        return self.health_now(wall)

    def health_now(self, wall: float) -> Health:
        """How the stream is doing, now; the status word is that of the last look."""
        source, figures, ring = self.source.status(), self._figures, self.source.ring
        p50, p95 = _percentiles(figures.latencies_ms)
        return Health(
            stream=self.name,
            time=wall,
            status=self._status,
            device=source.device,
            effective_rate_hz=source.effective_rate_hz,
            real_time_factor=figures.compute_s / figures.audio_s if figures.audio_s else None,
            latency_p50_ms=p50,
            latency_p95_ms=p95,
            ring_fill=min(1.0, ring.available() / ring.capacity),
            overflow_events=source.overflow_events,
            dropped_samples=figures.overwritten,
            skipped_windows=figures.skipped,
        )

    def _learn_voice(self, result: "WindowResult", window: Window) -> None:
        """Only full windows of speech count: what a profile will be applied to."""
        if self.enrolment is not None and result.embedding and window.probs and not window.warming:
            moved_s = self._settings.hop_s * (1 + result.skipped)
            self.enrolment.take(result.embedding, result.speech, moved_s, window.rms_dbfs)

    def _window(self, result: "WindowResult", observation: Observation, end: int, wall: float) -> Window:
        probs = observation.probs
        rms_dbfs, peak_dbfs = rms_and_peak_dbfs(self._hop_before(end))
        return Window(
            stream=self.name,
            seq=self._seq,
            time=observation.time,
            start_s=max(self._origin, end - result.frames * FRAME_SAMPLES) / SAMPLE_RATE,
            end_s=observation.end_s,
            label=self._settings.rule.label(observation),
            confidence=None if probs is None else max(probs.values()),
            probs=probs,
            speech=result.speech,
            rms_dbfs=rms_dbfs,
            peak_dbfs=peak_dbfs,
            latency_ms=max(0.0, wall - observation.time) * 1000 if self.source.realtime else None,
            dropped_samples=self._dropped,
            warming=observation.warming,
        )

    def _changes(self, output: TrackerOutput) -> list[Event]:
        """The tracker's output as events: what ended, what started, what holds."""
        events: list[Event] = []
        if ended := output.ended:
            events.append(
                EmotionEnded(self.name, self._open_id, ended.time, ended.label, ended.duration_s, ended.peak_confidence)
            )
        if new := output.started:
            self._transitions += 1
            self._open_id = f"{self._run_id}-{self._transitions:06d}"
            events.append(
                EmotionStarted(self.name, self._open_id, new.time, new.label, new.previous, new.confidence, new.start_s)
            )
        events.append(State(self.name, self._time, output.label, output.confidence, output.since))
        return events

    def _judge(self, source: SourceStatus, monotonic: float) -> Status:
        """One word for the whole stream; what the person must act on comes first."""
        if self.finished:
            return "ended"
        if source.state in _WORDS:
            return _WORDS[source.state]
        if self._figures.skipped > self._skipped_seen:
            self._skipped_seen, self._skipped_at = self._figures.skipped, monotonic
        if monotonic - self._skipped_at < BEHIND_S:
            return "behind"
        if self._newest is None or self._newest.warming:
            return "warming"
        return "silence" if self._newest.probs is None else "live"

    def _wall_time(self, position: int, wall: float) -> float:
        """When the sample before `position` was result: by the capture clock, or as if the file began when we did."""
        captured = self.source.ring.time_of(position)
        if captured is not None:
            return captured
        if self._began is None:
            self._began = wall - position / SAMPLE_RATE
        return self._began + position / SAMPLE_RATE

    def _hop_before(self, end: int) -> Samples:
        """The newest hop before absolute position `end`, as far as the latest chunk holds it."""
        last = max(0, end - self._latest.start)
        return self._latest.samples[max(0, last - self._settings.hop_samples) : last]


def _percentiles(latencies_ms: Sequence[float]) -> tuple[float | None, float | None]:
    if not latencies_ms:
        return None, None
    p50, p95 = np.percentile(latencies_ms, (50, 95))
    return float(p50), float(p95)
