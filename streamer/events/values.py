"""The values of the events: frozen dataclasses, cheap to make, whose field types carry the bounds for reading.

Times are seconds since the epoch (UTC) here and ISO 8601 with milliseconds on the wire.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from streamer.events.fields import (
    Count,
    Decibels,
    Factor,
    Flag,
    Hertz,
    Label,
    Labels,
    Milliseconds,
    Moment,
    Name,
    Probabilities,
    Seconds,
    Sentence,
    Share,
    Streams,
)

SCHEMA = 1

Status = Literal[
    "starting", "warming", "live", "silence", "no signal", "no device", "mic lost", "source lost",
    "behind", "paused", "ended",
]  # fmt: skip
STATUSES: tuple[Status, ...] = get_args(Status)

# Of a stream to the model: too little heard yet, like the training streams, or unlike all of them.
Familiarity = Literal["new", "known", "unfamiliar"]


@dataclass(frozen=True, slots=True)
class Window:
    """One analysis window of one stream."""

    type: ClassVar[str] = "window"
    stream: Name
    seq: Count  # counts a stream's emitted windows from 0
    time: Moment  # wall time of the window's end, from the capture clock; never runs backwards
    start_s: Seconds  # sample position / 24,000
    end_s: Seconds
    label: Label | None  # None: nobody speaks, the model is unsure, or the window is warming
    confidence: Share | None  # the largest probability; None where nothing was inferred
    probs: Probabilities | None  # every label, summing to 1; None where nothing was inferred
    speech: Share  # share of the window with voice activity, 0 to 1
    rms_dbfs: Decibels  # of the newest hop
    peak_dbfs: Decibels
    latency_ms: Milliseconds | None  # capture of the last sample to this event; None with --fast
    dropped_samples: Count  # since the previous window
    warming: Flag  # the window is not full of gapless audio yet


@dataclass(frozen=True, slots=True)
class State:
    """The emotion that the stream's tracker holds now: sent on change, and as a heartbeat."""

    type: ClassVar[str] = "state"
    stream: Name
    time: Moment
    label: Label | None
    confidence: Share | None
    since: Moment
    leaning: Label | None = None  # the likeliest label while none is held; None in silence, too
    leaning_confidence: Share | None = None  # its smoothed probability


@dataclass(frozen=True, slots=True)
class EmotionStarted:
    """A stable emotion began. Its `id` returns in the `EmotionEnded` that closes it."""

    type: ClassVar[str] = "transition"
    event_type: ClassVar[str] = "emotion_started"
    stream: Name
    id: Label  # four characters random per run, then a counter
    time: Moment
    label: Label
    previous: Label | None
    confidence: Share
    start_s: Seconds


@dataclass(frozen=True, slots=True)
class EmotionEnded:
    """The emotion that `EmotionStarted` with the same `id` announced is over."""

    type: ClassVar[str] = "transition"
    event_type: ClassVar[str] = "emotion_ended"
    stream: Name
    id: Label
    time: Moment
    label: Label
    duration_s: Seconds
    peak_confidence: Share
    # None: it was over. "restart": the monitor died while it lasted, and was started again. "lost": a shard of a fleet
    # was lost, and another one serves the stream.
    reason: Label | None = None


Transition = EmotionStarted | EmotionEnded


@dataclass(frozen=True, slots=True)
class Health:
    """The condition of a stream, every 30 s on MQTT. None: not measurable (a file has no capture rate)."""

    type: ClassVar[str] = "health"
    stream: Name
    time: Moment
    status: Status
    device: Sentence
    effective_rate_hz: Hertz | None  # native samples a second of wall time
    real_time_factor: Factor | None  # compute time / audio time
    latency_p50_ms: Milliseconds | None
    latency_p95_ms: Milliseconds | None
    ring_fill: Share  # 0 to 1
    overflow_events: Count  # PortAudio's flag: audio was lost before it reached the program, length unknown
    dropped_samples: Count  # samples the ring overwrote before they were read, exact
    skipped_windows: Count  # windows not emitted because the worker was behind
    compute_s: Seconds | None = None  # the stream's part of the time that the model took, since it began
    rms_dbfs: Decibels | None = None  # of the last 10 s of audio; None while nothing is captured
    peak_dbfs: Decibels | None = None  # of the last 10 s
    noise_dbfs: Decibels | None = None  # noise floor: the tenth percentile of the level over the last 10 s
    gap_s: Seconds | None = (
        None  # seconds without audio since the stream began (device away, process stopped); not muted
    )
    rested_s: Seconds | None = None  # seconds of audio in which nobody spoke and the stream rested, since it began


@dataclass(frozen=True, slots=True)
class Info:
    """What is running: retained on MQTT, so that a late subscriber knows labels and window length."""

    type: ClassVar[str] = "info"
    version: Name
    model: Name
    model_sha256: Name
    labels: Labels
    sample_rate_hz: Count
    window_s: Seconds
    hop_s: Seconds
    streams: Streams
    calibrated: Streams = ()  # those of them whose voice profile is in use
    threshold: Share | None = None  # the probability from which a window claims a label
    enter: Share | None = None  # the smoothed probability from which an emotion may start
    exit: Share | None = None  # below which it ends
    torch_device: Name | None = None  # where the model runs
    started: Moment | None = None  # when the monitor was started
    window_every: Count = 1  # every n-th window is published over MQTT
    heartbeat_s: Seconds = 10.0  # between repeats of an unchanged state over MQTT
    health_s: Seconds = 30.0  # between health messages over MQTT
    clips: Flag = False  # the audio around each new emotion is kept on disk (record.clips)
    rest: Flag = False  # streams in which nobody speaks may rest (model.rest)


Event = Window | State | EmotionStarted | EmotionEnded | Health | Info
EVENT_CLASSES: tuple[type[Event], ...] = (Window, State, EmotionStarted, EmotionEnded, Health, Info)
