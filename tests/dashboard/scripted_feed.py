"""A feed that plays a fixed scene: the same moment always gives the same snapshot."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from streamer.events import Health, Info, State, Status, Window
from streamer.feed.snapshot import BrokerView, EnrolmentView, Level, LogLine, Snapshot, StreamView, TimelinePoint

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
START = 1_795_365_005.0  # 2026-11-22 16:30:05 UTC
HOP_S = 0.24
WINDOW_FRAMES = 225

#: The label of each stretch of speech and its seconds, repeated for ever; None is a pause.
SCENE: tuple[tuple[float, str | None], ...] = (
    (21, "neutral"), (4, None), (17, "happy"), (6, "surprised"), (5, None), (24, "neutral"), (13, "sad"), (3, None),
    (11, "angry"), (8, None), (30, "calm"), (4, None), (26, "happy"),
)  # fmt: skip
SCENE_S = sum(seconds for seconds, _ in SCENE)
LOST_AT_S = (61.0, 188.0)


def label_at(second: float) -> tuple[str | None, float]:
    """Return the current label at a second of the scene, and for how long it has been so."""
    second %= SCENE_S
    for seconds, label in SCENE:
        if second < seconds:
            return label, second
        second -= seconds
    return None, 0.0


def wobble(x: float) -> float:
    """A smooth, fixed, irregular curve between -1 and 1."""
    return (math.sin(x * 1.7) + math.sin(x * 2.9 + 1.3) + math.sin(x * 0.61 + 4.0)) / 3


def probabilities(second: float, sharp: float, labels: Sequence[str] = LABELS) -> dict[str, float]:
    """Return a distribution over the labels that favours the one of `second`."""
    current, since = label_at(second)
    scores = [1.1 * wobble(second * 0.4 + 2.3 * i) for i in range(len(labels))]
    if current in labels:
        scores[labels.index(current)] += sharp * (1 - math.exp(-(since + 0.4)))
    powers = [math.exp(score) for score in scores]
    return {label: power / sum(powers) for label, power in zip(labels, powers, strict=True)}


def timeline(now_s: float, span_s: float) -> tuple[TimelinePoint, ...]:
    """A point a hop for the `span_s` seconds before `now_s`."""
    points = []
    for k in range(math.ceil(max(0.0, now_s - span_s) / HOP_S), math.floor(now_s / HOP_S) + 1):
        second = k * HOP_S
        label, _ = label_at(second)
        confidence = None if label is None else 0.62 + 0.3 * wobble(second * 0.3)
        lost = any(0 <= second - at < HOP_S for at in LOST_AT_S)
        points.append(TimelinePoint(START + second, label, confidence, lost))
    return tuple(points)


def attention(second: float) -> tuple[float, ...]:
    """Weights over a full window: two words, and little else."""
    powers = [math.exp(2.4 * wobble((second * 75 + i) * 0.045) + 0.25 * wobble(i * 1.9)) for i in range(WINDOW_FRAMES)]
    return tuple(power / sum(powers) for power in powers)


def level(second: float) -> Level:
    label, _ = label_at(second)
    rms = -24.0 + 9 * wobble(second * 3.1) if label else -55.0 + 2 * wobble(second * 5)
    peak = min(-0.5, rms + 10 + 3 * wobble(second * 7))
    return Level(rms, peak, max(peak, -11.0) if label else peak, -57.0, 0)


def log_lines(now_s: float) -> tuple[LogLine, ...]:
    """The transitions of the scene so far, after two notes about the start."""
    lines = [(0.0, "note", "model loaded: streamer-8-emotions"), (0.1, "broker", "connected to mqtt://127.0.0.1:1883")]
    at, previous = 0.0, None
    while at <= now_s:
        for seconds, label in SCENE:
            if at > now_s:
                break
            if previous and label != previous[0]:
                lines.append((at, "emotion", f"{previous[0]} ended after {previous[1]:.0f} s"))
            if label:
                lines.append((at + 0.3, "emotion", f"{label} started {0.55 + 0.03 * (seconds % 9):.2f}"))
            previous = (label, seconds) if label else None
            at += seconds
    lines += [(t, "loss", "7,680 samples were overwritten") for t in LOST_AT_S if t <= now_s]
    lines = sorted(line for line in lines if line[0] <= now_s)
    return tuple(LogLine(i, START + t, kind, "desk", text) for i, (t, kind, text) in enumerate(lines))  # type: ignore[arg-type]


@lru_cache(maxsize=32)
def stream_view(
    name: str,
    second: float,
    status: Status = "live",
    detail: str = "",
    device: str = "Blue Yeti",
    span_s: float = 300.0,
) -> StreamView:
    """One stream of the scene at `second`."""
    now = START + second
    current, since = label_at(second)
    smoothed, raw = probabilities(second, 2.6), probabilities(second + 0.8, 2.9)
    loud = level(second)
    window = Window(
        stream=name, seq=int(second / HOP_S), time=now, start_s=max(0.0, second - 3.0), end_s=second, label=current,
        confidence=max(raw.values()), probs=raw, speech=0.93, rms_dbfs=loud.rms_dbfs, peak_dbfs=loud.peak_dbfs,
        latency_ms=43.0, dropped_samples=0, warming=False,
    )  # fmt: skip
    health = Health(
        stream=name, time=now, status=status, device=device, effective_rate_hz=47_996.2, real_time_factor=0.18,
        latency_p50_ms=43.0, latency_p95_ms=61.0, ring_fill=0.04, overflow_events=0, dropped_samples=7_680 * 2,
        skipped_windows=0,
    )  # fmt: skip
    return StreamView(
        name=name, status=status, detail=detail, device=device, level=loud, window=window,
        smoothed=tuple(smoothed.items()), state=State(name, now, current, smoothed.get(current or ""), now - since),
        attention=attention(second), health=health, timeline=timeline(second, span_s),
    )  # fmt: skip


INFO = Info(
    version="0.1.0", model="streamer-8-emotions", model_sha256="0" * 64, labels=LABELS, sample_rate_hz=24_000,
    window_s=3.0, hop_s=HOP_S, streams=("desk",),
)  # fmt: skip
BROKER = BrokerView("mqtt://127.0.0.1:1883", "online", "", sent=812, queued=0, shed=0)


def snapshot(second: float, streams: tuple[StreamView, ...]) -> Snapshot:
    return Snapshot(START + second, second + 461.0, INFO, "cpu", streams, BROKER, log_lines(second))


def empty_snapshot(broker: BrokerView = BROKER) -> Snapshot:
    """Before the model is loaded, or before a monitor was found."""
    return Snapshot(START, 0.4, None, None, (), broker, ())


@dataclass
class ScriptedFeed:
    """Returns the snapshot it was given, and records the calls it gets."""

    shown: Snapshot
    watching: bool = False  # another program's capture: there are no controls
    device_names: tuple[str, ...] = ("Blue Yeti", "Built-in Microphone", "USB [Audio] Device")
    calls: list[tuple[object, ...]] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def controls(self) -> "ScriptedFeed | None":
        return None if self.watching else self

    def snapshot(self) -> Snapshot:
        if self.failure is not None:
            raise self.failure
        return self.shown

    def mute(self, stream: str, muted: bool) -> None:
        self.calls.append(("mute", stream, muted))
        status: Status = "paused" if muted else "live"
        self.shown = replace(
            self.shown, streams=tuple(replace(s, status=status) if s.name == stream else s for s in self.shown.streams)
        )

    def devices(self) -> tuple[str, ...]:
        if self.failure is not None:
            raise self.failure
        return self.device_names

    def choose_device(self, stream: str, device: str) -> None:
        self.calls.append(("device", stream, device))

    def calibrate(self, stream: str) -> None:
        self.calls.append(("calibrate", stream))
        self._enrolment(stream, EnrolmentView(0.0, 20.0))

    def cancel_calibration(self, stream: str) -> None:
        self.calls.append(("cancel", stream))
        self._enrolment(stream, None)

    def _enrolment(self, stream: str, view: EnrolmentView | None) -> None:
        streams = tuple(replace(s, enrolment=view) if s.name == stream else s for s in self.shown.streams)
        self.shown = replace(self.shown, streams=streams)


def live_feed(second: float = 271.0) -> ScriptedFeed:
    """One microphone, well into the scene."""
    return ScriptedFeed(snapshot(second, (stream_view("desk", second),)))


def three_streams() -> ScriptedFeed:
    """Three streams at different moments of the scene."""
    names = ("desk", "kitchen", "door")
    return ScriptedFeed(snapshot(271.0, tuple(stream_view(name, 271.0 - 40 * i) for i, name in enumerate(names))))


def watcher() -> ScriptedFeed:
    """One stream of another program."""
    return replace(live_feed(), watching=True)


@dataclass
class PlayingFeed(ScriptedFeed):
    """Plays the scene by a clock; a new window every hop, the level at every look."""

    clock: Callable[[], float] = time.monotonic
    begun: float | None = None
    _hop: int = -1
    _view: StreamView | None = None

    def snapshot(self) -> Snapshot:
        now = self.clock()
        self.begun = now if self.begun is None else self.begun
        second = 271.0 + now - self.begun
        hop = int(second / HOP_S)
        if hop != self._hop or self._view is None:
            self._hop, self._view = hop, stream_view("desk", hop * HOP_S)
        return snapshot(second, (replace(self._view, level=level(second)),))


if __name__ == "__main__":
    from streamer.dashboard.app import StreamerApp

    feed = PlayingFeed(empty_snapshot())
    StreamerApp(feed, feed.controls).run()
