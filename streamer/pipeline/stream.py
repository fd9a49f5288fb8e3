"""One stream of the worker: its source, counters and tracker, and the events of its windows."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.arrays import Samples
from streamer.audio.meter import LevelMeter, rms_and_peak_dbfs
from streamer.audio.ring import Chunk
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.emotion.tracker import ClaimRule, Observation, Tracker, TrackerOutput, TrackerSettings
from streamer.events import EmotionEnded, EmotionStarted, Event, Health, State, Status, Window
from streamer.feed.snapshot import Level
from streamer.pipeline.counters import Counters
from streamer.sources.source import Source, SourceState, SourceStatus

if TYPE_CHECKING:  # it loads torch
    from streamer.pipeline.windows import WindowResult

BEHIND_S = 2.0  # a window skipped within this time means that the machine does not keep up
HEALTH_S = 1.0  # how often health is measured; publishers throttle it
METER_S = 0.1  # between two readings of the meter, which take 0.2 ms each; a screen shows 8 a second

_WORDS: dict[SourceState, Status] = {
    "starting": "starting",
    "no signal": "no signal",
    "no device": "no device",
    "lost": "mic lost",
    "source lost": "source lost",
    "stalled": "behind",
    "muted": "paused",
}
_URGENT: tuple[Status, ...] = ("mic lost", "source lost", "paused")  # health says so at once


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What all streams of a worker share."""

    labels: tuple[str, ...]
    window_frames: int
    hop_frames: int
    rule: ClaimRule
    tracker: TrackerSettings
    neutral_mean: tuple[float, ...] | None = None  # [128] that voice profiles are measured against; None: no profiles

    @property
    def hop_s(self) -> float:
        """Seconds between two windows."""
        return self.hop_samples / SAMPLE_RATE

    @property
    def hop_samples(self) -> int:
        """Samples between two windows."""
        return self.hop_frames * FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class WindowEvents:
    """The events of one window, and the smoothed probabilities behind them."""

    events: tuple[Event, ...]  # transitions, the state, then the window
    window: Window
    smoothed: tuple[tuple[str, float], ...] | None  # in label order; None while there is nothing to smooth


class StreamRuntime:
    """The state of one stream. Owned by the worker's thread."""

    def __init__(self, source: Source, settings: StreamSettings, run_id: str) -> None:
        self.source = source
        self.name = source.name
        self.drained = False  # the source is over and its last window was emitted
        self._settings = settings
        self._run_id = run_id
        self._tracker = Tracker(settings.rule, settings.tracker)
        self._counters = Counters()
        self._meter = LevelMeter()
        self._metered = 0  # position in the ring up to which the meter has read
        self._metered_at = -math.inf
        self._origin = 0  # absolute position of the last reset
        self._heard_from = ""  # the device that the newest window came from
        self._latest = Chunk(0, np.zeros(0, dtype=np.float32), 0, False)
        self._seq = 0
        self._time = 0.0  # of the newest window: never runs backwards
        self._dropped = 0  # samples lost since the newest window
        self._transitions = 0
        self._open_id = ""
        self._status: Status = "starting"
        self._health_at = -math.inf
        self._health_status: Status = "starting"  # in the newest health event
        self._skipped_at = -math.inf  # monotonic moment of the newest skipped window
        self._skipped_seen = 0
        self._newest: Window | None = None

    def configure(self, settings: StreamSettings) -> None:
        """Have these thresholds from the next window on; the emotion held stays."""
        self._settings = settings
        self._tracker.rule, self._tracker.settings = settings.rule, settings.tracker

    @property
    def exhausted(self) -> bool:
        """The source ended and everything in its ring was read."""
        ring = self.source.ring
        return ring.stats().ended and ring.available() == 0

    @property
    def hops_waiting(self) -> int:
        """Whole hops in the ring."""
        return self.source.ring.available() // self._settings.hop_samples

    def read(self, max_hops: int) -> Chunk | None:
        """Return the next whole hops, or what is left before a gap or at the end; None if less is there."""
        hop = self._settings.hop_samples
        chunk = self.source.ring.read(least=hop, most=hop * max_hops, multiple=hop)
        if chunk is not None:
            self._latest = chunk
            self._dropped += chunk.lost
            self._counters.overwritten += chunk.lost
        return chunk

    def pause(self) -> list[Event]:
        """End the emotion held while the stream is muted or its device lost, once all audio before was processed."""
        silent = self.source.status().state in ("muted", "no device", "lost", "source lost", "stalled")
        if not silent or self.hops_waiting or self._newest is None:
            return []
        self._newest = None
        return self._transition_events(self._tracker.reset(self._time))

    def restart(self, chunk: Chunk, wall: float) -> list[Event]:
        """Begin windows anew at `chunk`, after a gap, and end the emotion held."""
        self._origin = chunk.start
        self._newest = None
        self._time = max(self._time, self._wall_time(chunk.start, wall))
        return self._transition_events(self._tracker.reset(self._time))

    def moved(self) -> bool:
        """Return whether the audio comes from another device than the newest window."""
        return self._heard_from not in ("", self.source.status().device)

    def record_cost(self, compute_s: float, samples: int, share: float) -> None:
        """Record what a step cost that took so many samples of this stream, which were `share` of all that it took."""
        self._counters.record_cost(compute_s, samples / SAMPLE_RATE, share)

    def window_events(self, result: "WindowResult", wall: float) -> WindowEvents:
        """Return the events of one window."""
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
        self._heard_from = self.source.status().device
        window = self._newest = self._window(result, observation, end, wall)
        self._seq += 1
        self._dropped = 0
        self._counters.skipped += result.skipped
        self._counters.rested += self._settings.hop_samples if result.rested else 0
        if window.latency_ms is not None:
            self._counters.latencies_ms.append(window.latency_ms)
        smoothed = None if output.smoothed is None else tuple(output.smoothed.items())
        return WindowEvents((*self._transition_events(output), window), window, smoothed)

    def close(self) -> list[Event]:
        """End the emotion held: the stream is over."""
        if self._newest is None:
            return []
        return self._transition_events(self._tracker.close(self._time))

    def meter_due(self, monotonic: float) -> bool:
        """Return whether the meter is to be read again."""
        return self.drained or monotonic - self._metered_at >= METER_S

    def level(self, monotonic: float) -> Level | None:
        """Meter what came in since the last call; None while nothing is captured."""
        self._metered_at = monotonic
        self._feed_meter()
        reading = self._meter.reading() if self._captures else None
        return None if reading is None else Level(**asdict(reading))

    def _feed_meter(self) -> None:
        samples, self._metered = self.source.ring.recent(self._metered)
        self._meter.feed(samples)

    @property
    def _captures(self) -> bool:
        return self.source.status().state in ("live", "no signal")

    def status(self, monotonic: float) -> tuple[Status, str, str]:
        """Return the status word, its sentence, and the device's name."""
        source = self.source.status()
        self._status = self._status_word(source, monotonic)
        detail = source.detail
        if self._status == "behind" and source.state != "stalled":
            detail = "The machine does not keep up: windows are skipped. Use a longer hop_s, fewer streams or a GPU."
        return self._status, detail, source.device

    def health(self, wall: float, monotonic: float) -> Health | None:
        """Return a health event when one is due: each second, and at once when the source is lost or muted."""
        changed = self._status != self._health_status
        urgent = changed and (self._status in _URGENT or self._health_status == "paused")
        if monotonic - self._health_at < HEALTH_S and not urgent:
            return None
        self._health_at, self._health_status = monotonic, self._status
        return self.measure_health(wall)

    def measure_health(self, wall: float) -> Health:
        """Return a health event now; its status word is the one that `status` returned last."""
        source, counters, ring = self.source.status(), self._counters, self.source.ring
        p50, p95 = counters.latency_percentiles_ms()
        self._feed_meter()  # also where no screen asks for levels
        levels = self._meter.summary() if self._captures else None
        return Health(
            stream=self.name,
            time=wall,
            status=self._status,
            device=source.device,
            effective_rate_hz=source.effective_rate_hz,
            real_time_factor=counters.real_time_factor,
            latency_p50_ms=p50,
            latency_p95_ms=p95,
            ring_fill=min(1.0, ring.available() / ring.capacity),
            overflow_events=source.overflow_events,
            dropped_samples=counters.overwritten,
            skipped_windows=counters.skipped,
            compute_s=counters.compute_s,
            rms_dbfs=levels.rms_dbfs if levels else None,
            peak_dbfs=levels.peak_dbfs if levels else None,
            noise_dbfs=levels.noise_dbfs if levels else None,
            gap_s=ring.stats().gap_s,
            rested_s=counters.rested / SAMPLE_RATE,
        )

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
            latency_ms=self._latency_ms(end, wall),
            dropped_samples=self._dropped,
            warming=observation.warming,
        )

    def _transition_events(self, output: TrackerOutput) -> list[Event]:
        """Return the tracker's output as events: what ended, what started, what is held."""
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
        leaning = output.leaning
        leaning_confidence = output.smoothed[leaning] if leaning and output.smoothed else None
        held = State(self.name, self._time, output.label, output.confidence, output.since, leaning, leaning_confidence)
        events.append(held)
        return events

    def _status_word(self, source: SourceStatus, monotonic: float) -> Status:
        """Return one word for the whole stream; what the user must act on comes first."""
        if self.drained:
            return "ended"
        if source.state in _WORDS:
            return _WORDS[source.state]
        if self._counters.skipped > self._skipped_seen:
            self._skipped_seen, self._skipped_at = self._counters.skipped, monotonic
        if monotonic - self._skipped_at < BEHIND_S:
            return "behind"
        if self._newest is None or self._newest.warming:
            return "warming"
        return "silence" if self._newest.probs is None else "live"

    def _wall_time(self, position: int, wall: float) -> float:
        """Return when the sample before `position` was recorded, or captured; else the moment of the event."""
        ring = self.source.ring
        if ring.start_time is not None:
            return ring.start_time + position / SAMPLE_RATE
        captured = ring.time_of(position)
        return wall if captured is None else captured

    def _latency_ms(self, end: int, wall: float) -> float | None:
        """Return the time from the capture of the sample before `end` to now; None with --fast."""
        captured = self.source.ring.time_of(end) if self.source.realtime else None
        return None if captured is None else max(0.0, wall - captured) * 1000

    def _hop_before(self, end: int) -> Samples:
        """Return the newest hop before absolute position `end`, as far as the latest chunk holds it."""
        last = max(0, end - self._latest.start)
        return self._latest.samples[max(0, last - self._settings.hop_samples) : last]
