"""Figures for Prometheus, gathered from the events.

Names follow Prometheus' conventions: base units, `_total`, ratios from 0 to 1. Counters begin with the program.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from streamer.events import STATUSES, EmotionStarted, Event, Health, Info, State, Status, Window
from streamer.publish.publisher import PublisherStats

LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
NO_EMOTION = "none"  # the value of the label `emotion` while none is held
_NOT_CAPTURING: frozenset[Status] = frozenset({"starting", "no device", "mic lost", "source lost", "paused", "ended"})

Broker = Callable[[], PublisherStats]
ActionResults = Callable[[], Mapping[str, Mapping[str, int]]]


@dataclass(slots=True)
class _Stream:
    """What is known of one stream."""

    windows: int = 0
    speech_s: float = 0.0
    silence_s: float = 0.0
    emotion_s: dict[str, float] = field(default_factory=dict)  # by the emotion held
    transitions: dict[str, int] = field(default_factory=dict)  # by the emotion that started
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_S) + 1))
    latency_s: float = 0.0  # sum
    held: str = NO_EMOTION
    window: Window | None = None  # the newest
    health: Health | None = None  # the newest

    @property
    def captures(self) -> bool:
        """Whether the newest window still tells what the stream hears."""
        return self.health is None or self.health.status not in _NOT_CAPTURING

    def add_window(self, window: Window) -> None:
        """Count the audio that is new in `window` as what it is."""
        before = self.window
        if before is None or window.seq <= before.seq:  # another stream of this name
            new_s = window.end_s - window.start_s
        else:
            new_s = window.end_s - before.end_s - window.dropped_samples / 24_000
        new_s = max(0.0, new_s)
        self.windows += 1
        self.speech_s += new_s * window.speech
        self.silence_s += new_s * (1 - window.speech)
        self.emotion_s[self.held] = self.emotion_s.get(self.held, 0.0) + new_s
        if window.latency_ms is not None:
            latency_s = window.latency_ms / 1000
            self.latencies[bisect_left(LATENCY_BUCKETS_S, latency_s)] += 1
            self.latency_s += latency_s
        self.window = window


class Metrics:
    """Collects what the events say; a `Collector` for prometheus_client's registry. For any thread.

    Args:
        broker: returns the counters of the MQTT publisher; None: there is none.
        actions: returns how often each action ended how; None: there are none.
    """

    def __init__(self, broker: Broker | None = None, actions: ActionResults | None = None) -> None:
        self._broker = broker
        self._actions = actions
        self._lock = threading.Lock()
        self._info: Info | None = None
        self._streams: dict[str, _Stream] = {}

    def add(self, event: Event) -> None:
        """Take one event into account."""
        with self._lock:
            if isinstance(event, Info):
                self._info = event
                self._streams = {name: self._streams.get(name) or _Stream() for name in event.streams}
                return
            stream = self._streams.setdefault(event.stream, _Stream())
            match event:
                case Window():
                    stream.add_window(event)
                case State():
                    stream.held = event.label or NO_EMOTION
                case EmotionStarted():
                    stream.transitions[event.label] = stream.transitions.get(event.label, 0) + 1
                case Health():
                    stream.health = event

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now."""
        with self._lock:
            families = [*self._of_program(), *self._counters(), *self._gauges(), self._latency()]
        yield from families
        if self._broker is not None:
            yield from _of_broker(self._broker())
        if self._actions is not None:
            yield _of_actions(self._actions())

    def _of_program(self) -> Iterator[Metric]:
        if (info := self._info) is not None:
            value = {"version": info.version, "model": info.model, "model_sha256": info.model_sha256}
            yield InfoMetricFamily("streamer_build", "What runs.", value)

    def _counters(self) -> Iterator[Metric]:
        labels = self._info.labels if self._info else ()
        windows = _counter("windows", "Windows that were classified.")
        audio = _counter("audio_seconds", "Audio that was heard, with and without voice.", "speech")
        emotion = _counter("emotion_seconds", "Audio during which an emotion was held.", "emotion")
        transitions = _counter("transitions", "Emotions that started.", "emotion")
        for name, stream in self._streams.items():
            windows.add_metric([name], stream.windows)
            audio.add_metric([name, "true"], stream.speech_s)
            audio.add_metric([name, "false"], stream.silence_s)
            for label in (*labels, NO_EMOTION):
                emotion.add_metric([name, label], stream.emotion_s.get(label, 0.0))
            for label in labels:
                transitions.add_metric([name, label], stream.transitions.get(label, 0))
        yield from (windows, audio, emotion, transitions)
        yield from self._losses()

    def _losses(self) -> Iterator[Metric]:
        compute = _counter("compute_seconds", "Time that the model took.")
        rested = _counter("rested_seconds", "Audio in which nobody spoke and nothing was encoded.")
        dropped = _counter("dropped_samples", "Samples that were overwritten before they were read.")
        skipped = _counter("skipped_windows", "Windows left out because the machine did not keep up.")
        gaps = _counter("gap_seconds", "Time without audio: the device was away, or the program stopped.")
        overflows = _counter("device_overflows", "Times that audio was lost before it reached the program.")
        for name, stream in self._streams.items():
            if (health := stream.health) is not None:
                dropped.add_metric([name], health.dropped_samples)
                skipped.add_metric([name], health.skipped_windows)
                overflows.add_metric([name], health.overflow_events)
                if health.gap_s is not None:
                    gaps.add_metric([name], health.gap_s)
                if health.compute_s is not None:
                    compute.add_metric([name], health.compute_s)
                if health.rested_s is not None:
                    rested.add_metric([name], health.rested_s)
        yield from (compute, rested, dropped, skipped, overflows, gaps)

    def _gauges(self) -> Iterator[Metric]:
        probability = _gauge("emotion_probability_ratio", "Probability in the newest window.", "emotion")
        level = _gauge("input_level_dbfs", "RMS level of the newest hop, in dB of full scale.")
        status = _gauge("stream_status", "1 for the status word that holds.", "state")
        ring = _gauge("ring_fill_ratio", "How full the ring between capture and model is.")
        rate = _gauge("capture_rate_hertz", "Samples a second that the device delivers.")
        for name, stream in self._streams.items():
            if (window := stream.window) is not None and stream.captures:
                level.add_metric([name], window.rms_dbfs)
                for label, share in (window.probs or {}).items():
                    probability.add_metric([name, label], share)
            health = stream.health
            for word in STATUSES:
                status.add_metric([name, word], float(word == (health.status if health else "starting")))
            if health is not None:
                ring.add_metric([name], health.ring_fill)
                if health.effective_rate_hz is not None:
                    rate.add_metric([name], health.effective_rate_hz)
        yield from (probability, level, status, ring, rate)

    def _latency(self) -> Metric:
        text = "From the capture of a window's last sample to its event."
        family = HistogramMetricFamily("streamer_window_latency_seconds", text, labels=["stream"])
        for name, stream in self._streams.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, LATENCY_BUCKETS_S), "+Inf"), stream.latencies, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric([name], buckets, stream.latency_s)
        return family


def _of_broker(stats: PublisherStats) -> Iterator[Metric]:
    messages = CounterMetricFamily(
        "streamer_mqtt_messages", "MQTT messages, by what became of them.", labels=["result"]
    )
    messages.add_metric(["sent"], stats.sent)
    messages.add_metric(["shed"], stats.shed)
    messages.add_metric(["refused"], stats.refused)
    yield messages
    yield GaugeMetricFamily("streamer_mqtt_connected", "Whether the broker is connected.", float(stats.online))
    yield GaugeMetricFamily("streamer_mqtt_queued_messages", "MQTT messages that wait.", stats.queued)


def _of_actions(results: Mapping[str, Mapping[str, int]]) -> Metric:
    text = "Runs of the commands in [[action]] tables, by how they ended."
    family = CounterMetricFamily("streamer_action_runs", text, labels=["action", "result"])
    for action, counts in results.items():
        for result, count in counts.items():
            family.add_metric([action, result], count)
    return family


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"streamer_{name}", text, labels=["stream", *labels])


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"streamer_{name}", text, labels=["stream", *labels])
