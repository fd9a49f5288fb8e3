"""Collect from any thread what the screen may show, and return it as one immutable `Snapshot`.

The local worker and `streamer watch` put the same events on the board; only the worker also sets what no broker carries
(`StreamDetails`: level, attention, smoothed probabilities, voice profiles).
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Unpack

from streamer.events import EmotionEnded, EmotionStarted, Event, Familiarity, Health, Info, State, Status, Window
from streamer.feed.snapshot import (
    BrokerView,
    EnrolmentView,
    Level,
    LogKind,
    LogLine,
    Snapshot,
    StreamDetails,
    StreamView,
    TimelinePoint,
)

LOG_LINES = 500
TIMELINE_POINTS = 50_000  # of a stream; an hour at four windows a second has 15,000
_TROUBLE = {
    "no device",
    "mic lost",
    "source lost",
    "no signal",
    "behind",
}  # statuses that are logged when they begin and when they end


@dataclass(slots=True)
class _Record:
    """What is known of one stream so far: the mutable counterpart of `StreamView`."""

    status: Status = "starting"
    detail: str = ""
    muted: str = ""  # by whom the stream is muted, in one sentence; empty while it is not
    device: str | None = None
    level: Level | None = None
    window: Window | None = None
    smoothed: tuple[tuple[str, float], ...] | None = None
    state: State | None = None
    attention: tuple[float, ...] | None = None
    health: Health | None = None
    timeline: deque[TimelinePoint] = field(default_factory=lambda: deque(maxlen=TIMELINE_POINTS))
    calibrated: bool = False
    enrolment: EnrolmentView | None = None
    familiarity: Familiarity | None = None


class Board:
    """The newest state of all streams. Thread-safe; every method returns at once."""

    def __init__(
        self,
        streams: Sequence[str] = (),
        *,
        timeline_s: float = 300.0,
        torch_device: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._lock = threading.Lock()
        self._records = {name: _Record() for name in streams}
        self._timeline_s = timeline_s
        self._torch_device = torch_device
        self._wall = wall
        self._began = wall()
        self._info: Info | None = None
        self._broker = BrokerView("off", "off", "", None, None, None)
        self._log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._lines = 0

    def event(self, event: Event, stream: str | None = None) -> None:
        """Record one event; `stream` replaces the event's own name where several monitors are watched."""
        with self._lock:
            if isinstance(event, Info):
                self._info = event
                self._torch_device = event.torch_device or self._torch_device
                return
            name = stream or event.stream
            if isinstance(event, EmotionStarted):
                self._write("emotion", name, f"{event.label} started {event.confidence:.2f}", event.time)
                return
            if isinstance(event, EmotionEnded):
                self._write("emotion", name, f"{event.label} ended {event.duration_s:.1f} s", event.time)
                return
            record = self._records.setdefault(name, _Record())
            match event:
                case Window():
                    self._window(name, record, event)
                case State():
                    record.state = event
                case Health():
                    record.health = event
                    record.device = event.device

    def status(self, stream: str, status: Status, detail: str = "", device: str | None = None) -> None:
        """Set a stream's status word and its sentence."""
        with self._lock:
            record = self._records.setdefault(stream, _Record())
            if status == "paused":
                detail = record.muted or detail
            if status != record.status:
                self._write_status(stream, record, status, detail)
            record.status, record.detail = status, detail
            record.device = device or record.device

    def recall(self, stream: str, points: Sequence[TimelinePoint]) -> None:
        """Put a recorded past of `stream` on its timeline, before all that this run has heard."""
        with self._lock:
            timeline = self._records.setdefault(stream, _Record()).timeline
            first = timeline[0].time if timeline else math.inf
            since = self._wall() - self._timeline_s
            timeline.extendleft(point for point in reversed(points) if since <= point.time < first)

    def muted(self, stream: str, sentence: str) -> None:
        """Set the sentence that is shown while a stream is `paused`; empty: the one of its source."""
        with self._lock:
            if record := self._records.get(stream):
                record.muted = sentence

    def forget(self, stream: str) -> None:
        """Remove a stream from the screen; its lines in the log stay."""
        with self._lock:
            if self._records.pop(stream, None):
                self._write("note", stream, "removed")

    def update(self, stream: str, **details: Unpack[StreamDetails]) -> None:
        """Set details of a stream that only the local worker knows; the others stay. A forgotten stream stays so."""
        with self._lock:
            if record := self._records.get(stream):
                for name, value in details.items():
                    setattr(record, name, value)

    def broker(self, view: BrokerView) -> None:
        """Set the state of the MQTT connection; a change of its status is logged."""
        with self._lock:
            if view.status != self._broker.status and view.status != "off":
                self._write("broker", None, f"broker {view.status}: {view.detail or view.url}")
            self._broker = view

    def torch_device(self, name: str) -> None:
        """Set where the model runs."""
        with self._lock:
            self._torch_device = name

    def log(self, kind: LogKind, text: str, stream: str | None = None) -> None:
        """Append one line to the event log."""
        with self._lock:
            self._write(kind, stream, text)

    def status_of(self, stream: str) -> Status:
        """Return the stream's status word."""
        with self._lock:
            record = self._records.get(stream)
            return record.status if record else "starting"

    def snapshot(self) -> Snapshot:
        """Return the state of everything now."""
        now = self._wall()
        with self._lock:
            return Snapshot(
                time=now,
                uptime_s=max(0.0, now - self._began),
                info=self._info,
                torch_device=self._torch_device,
                streams=tuple(_view(name, record) for name, record in self._records.items()),
                broker=self._broker,
                log=tuple(self._log),
            )

    def _window(self, name: str, record: _Record, window: Window) -> None:
        held = record.state
        label = held.label if held else None
        lost = window.dropped_samples > 0
        record.window = window
        now = self._wall()
        shown = min(window.time, now)  # the clock of another machine may be ahead
        if shown < now - self._timeline_s:
            shown = now  # a recording with a start time: it is shown as it is played
        while record.timeline and record.timeline[-1].time > now:  # this machine's clock was set back
            record.timeline.pop()
        record.timeline.append(TimelinePoint(shown, label, held.confidence if held else None, lost))
        while record.timeline and record.timeline[0].time < shown - self._timeline_s:
            record.timeline.popleft()
        if lost:
            self._write("loss", name, f"lost {window.dropped_samples / 24:.0f} ms of audio", window.time)

    def _write_status(self, stream: str, record: _Record, status: Status, detail: str) -> None:
        if status in _TROUBLE or status == "paused":
            self._write("device", stream, f"{status}: {detail}" if detail else status)
        elif record.status in _TROUBLE or record.status == "paused":
            self._write("device", stream, f"{record.status} is over")

    def _write(self, kind: LogKind, stream: str | None, text: str, moment: float | None = None) -> None:
        self._lines += 1
        self._log.append(LogLine(self._lines, self._wall() if moment is None else moment, kind, stream, text))


def _view(name: str, record: _Record) -> StreamView:
    return StreamView(
        name=name,
        status=record.status,
        detail=record.detail,
        device=record.device,
        level=record.level,
        window=record.window,
        smoothed=record.smoothed,
        state=record.state,
        attention=record.attention,
        health=record.health,
        timeline=tuple(record.timeline),
        calibrated=record.calibrated,
        enrolment=record.enrolment,
        familiarity=record.familiarity,
    )
