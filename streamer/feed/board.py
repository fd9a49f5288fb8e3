"""Collect from any thread what the screen may show, and return it as one immutable `Snapshot`.

The local worker and `streamer watch` put the same events on the board; only the worker also sets what no broker carries
(`StreamDetails`: level, attention, smoothed probabilities, voice profiles).
"""

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
from streamer.feed.track import Track, TrackClock

LOG_LINES = 500
FOLDED_BACK = 6  # a line that repeats one of so many newest ones is counted there
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
    track: Track = field(default_factory=lambda: Track(300.0))
    shift_s: float = 0.0  # from an event's time to its place on the timeline, where a recording has a time of its own
    clock: TrackClock = field(default_factory=TrackClock)
    open: dict[str, float] = field(default_factory=dict)  # id of an emotion that started → its place on the timeline
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
        self._timeline_s = timeline_s
        self._records = {name: self._new_record() for name in streams}
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
            if isinstance(event, EmotionStarted | EmotionEnded):
                self._transition(name, event)
                return
            record = self._record(name)
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
            record = self._record(stream)
            if status == "paused":
                detail = record.muted or detail
            if status != record.status:
                self._write_status(stream, record, status, detail)
            record.status, record.detail = status, detail
            record.device = device or record.device

    def recall(self, stream: str, points: Sequence[TimelinePoint]) -> None:
        """Put a recorded past of `stream` on its timeline, before all that this run has heard."""
        with self._lock:
            self._record(stream).track.recall(points)

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

    def _new_record(self) -> _Record:
        return _Record(track=Track(self._timeline_s))

    def _record(self, name: str) -> _Record:
        if name not in self._records:
            self._records[name] = self._new_record()
        return self._records[name]

    def _transition(self, name: str, event: EmotionStarted | EmotionEnded) -> None:
        """Log a transition and mark it on the timeline: windows may be throttled on their way, or lost."""
        record = self._records.get(name)
        place = min(self._wall(), event.time + (record.shift_s if record else 0.0))
        if record is not None and record.clock.ahead:
            place = record.clock.newest
        if isinstance(event, EmotionStarted):
            self._write("emotion", name, f"{event.label} started {event.confidence:.2f}", event.time)
            if record is not None:
                record.open = {event.id: place}
                record.track.add(TimelinePoint(place, event.label, event.confidence, False, 1.0))
            return
        self._write("emotion", name, f"{event.label} ended {event.duration_s:.1f} s", event.time)
        began = record.open.pop(event.id, None) if record else None
        if record is not None and began is not None:
            record.track.hold(began, place, event.label, event.peak_confidence)
            record.track.add(TimelinePoint(place, None, None, False))

    def _window(self, name: str, record: _Record, window: Window) -> None:
        held = record.state
        label = held.label if held else None
        lost = window.dropped_samples > 0
        record.window = window
        now = self._wall()
        # A recording with a start time is shown as it is played, and what comes from a clock that is ahead at once.
        record.shift_s = now - window.time if not now - self._timeline_s <= window.time <= now else 0.0
        if not record.clock.ahead or now < record.clock.seen:
            record.track.cut(now)
        shown = record.clock.place(window.end_s, window.time + record.shift_s, now)
        record.track.add(TimelinePoint(shown, label, held.confidence if held else None, lost, window.speech))
        if lost:
            self._write("loss", name, f"lost {window.dropped_samples / 24:.0f} ms of audio", window.time)

    def _write_status(self, stream: str, record: _Record, status: Status, detail: str) -> None:
        if status in _TROUBLE or status == "paused":
            self._write("device", stream, f"{status}: {detail}" if detail else status)
        elif record.status in _TROUBLE or record.status == "paused":
            self._write("device", stream, f"{record.status} is over")

    def _write(self, kind: LogKind, stream: str | None, text: str, moment: float | None = None) -> None:
        """Append a line; one that repeats one of the newest takes its place, but transitions are never folded."""
        self._lines += 1
        count = 1
        for back in range(1, min(FOLDED_BACK, len(self._log)) + 1):
            line = self._log[-back]
            if kind != "emotion" and (line.kind, line.stream, line.text) == (kind, stream, text):
                count += line.count
                del self._log[-back]
                break
        moment = self._wall() if moment is None else moment
        self._log.append(LogLine(self._lines, moment, kind, stream, text, count))


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
        timeline=record.track.view(),
        calibrated=record.calibrated,
        enrolment=record.enrolment,
        familiarity=record.familiarity,
    )
