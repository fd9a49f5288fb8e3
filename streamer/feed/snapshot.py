"""What the screen shows: one immutable value, pulled 8 to 10 times a second, never waited for.

The local monitor and `streamer watch` both build it with `streamer.feed.board.Board`. A figure that did not reach the
board, because a broker does not carry it, is None and shows as `not sent`.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict

from streamer.events import Familiarity, Health, Info, State, Status, Window

BrokerStatus = Literal["online", "connecting", "offline", "off"]
LogKind = Literal["emotion", "device", "broker", "loss", "note"]


@dataclass(frozen=True, slots=True)
class Level:
    """The input level, measured continuously, not once a window."""

    rms_dbfs: float
    peak_dbfs: float  # of the last block
    hold_dbfs: float  # peak hold: the highest peak of the last 1.5 s
    noise_dbfs: float  # noise floor: the tenth percentile of the last 10 s of RMS
    clipped: int  # blocks with a sample at full scale since the start


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """One window of the past, small enough to keep minutes of them."""

    time: float
    label: str | None  # the label that the tracker held, None: a gap (silence, warming, unsure)
    confidence: float | None
    lost: bool  # audio was lost since the point before
    speech: float = 0.0  # share of the window with voice activity, 0 to 1


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the event log; `number` grows by one a line, so a reader can append only what is new.

    A line that repeats one of the newest takes its place, with a new number and the sum of their counts.
    """

    number: int
    time: float  # of the newest occurrence
    kind: LogKind
    stream: str | None
    text: str
    count: int = 1  # how often it came


@dataclass(frozen=True, slots=True)
class EnrolmentView:
    """How far the enrolment of a speaker has come."""

    voice_s: float  # seconds of speech so far
    wanted_s: float


class StreamDetails(TypedDict, total=False):
    """What only the local monitor knows of a stream: fields of `StreamView` that no broker carries."""

    level: Level | None
    attention: tuple[float, ...] | None
    smoothed: tuple[tuple[str, float], ...] | None
    calibrated: bool
    enrolment: EnrolmentView | None
    familiarity: Familiarity | None


@dataclass(frozen=True, slots=True)
class StreamView:
    """Everything known of one stream."""

    name: str
    status: Status
    detail: str  # one sentence for the status line, with the cure where something is wrong; may be empty
    device: str | None
    level: Level | None
    window: Window | None  # the newest
    smoothed: tuple[tuple[str, float], ...] | None  # the tracker's probabilities in label order
    state: State | None
    attention: tuple[float, ...] | None  # weights over the window's frames, oldest first, summing to 1
    health: Health | None
    timeline: tuple[TimelinePoint, ...]  # oldest first; of the last day, thinned where it is older than some minutes
    calibrated: bool = False  # a voice profile is in use
    enrolment: EnrolmentView | None = None  # while a speaker is enrolled
    familiarity: Familiarity | None = None  # None where the model keeps no history, and over a broker

    def now(self, time: float) -> float:
        """Return where the timeline ends at `time`: that of a recording that is read fast runs ahead."""
        return max(time, self.timeline[-1].time) if self.timeline else time


@dataclass(frozen=True, slots=True)
class BrokerView:
    """The MQTT connection: where to, whether, and what became of the messages."""

    url: str  # without the password
    status: BrokerStatus
    detail: str  # why it is not online, or what the broker refuses, in one sentence; may be empty
    sent: int | None
    queued: int | None
    shed: int | None  # messages given up, never silently
    malformed: int = 0  # messages received that are no events
    refused: int = 0  # messages set aside because the broker does not take them


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the screen at one moment."""

    time: float  # seconds since the epoch
    uptime_s: float
    info: Info | None  # None until the model is loaded, or until the broker delivered it
    torch_device: str | None  # "cpu", "cuda:0" …
    streams: tuple[StreamView, ...]
    broker: BrokerView
    log: tuple[LogLine, ...]  # newest last, bounded


class Feed(Protocol):
    """Where the dashboard gets what it shows."""

    def snapshot(self) -> Snapshot:
        """Return the newest state of everything. Never blocks, and changes nothing: any number may read."""
        ...


class CaptureControls(Protocol):
    """What the dashboard can ask of the program that captures the audio. No method blocks.

    `streamer watch` has none: another program owns the microphone, so its keys are not offered.
    """

    def mute(self, stream: str, muted: bool) -> None:
        """Stop the capture of `stream`, releasing the device, or restart it. While muted its status is `paused`."""
        ...

    def devices(self) -> tuple[str, ...]:
        """Return the names of the input devices to choose from; empty where there are none."""
        ...

    def choose_device(self, stream: str, device: str) -> None:
        """Move `stream` to the device of that name."""
        ...

    def calibrate(self, stream: str) -> None:
        """Begin to enrol the speaker on `stream`, which goes on; then apply the voice profile and store it."""
        ...

    def cancel_calibration(self, stream: str) -> None:
        """Stop the enrolment on `stream` and discard it."""
        ...
