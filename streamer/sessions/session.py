"""A session: what a journal's events say of each stream, as intervals, gaps and losses, with seconds to place them.

Each stream has a clock. `wall`: seconds since the session began, gaps in capture included; for live sound. `audio`:
positions in the recording; where events carry no latency, as those of a file do, since their `time` is then only the
moment at which they were computed.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Info, State, Window

Clock = Literal["wall", "audio"]

GAP_S = 2.0  # without a window, beyond the usual distance: nothing was heard
NOT_RECORDED = "not recorded"
_SILENT_STATUSES = ("no device", "mic lost", "source lost", "paused", "no signal")


@dataclass(frozen=True, slots=True)
class Interval:
    """An emotion from its start to its end."""

    label: str
    start: float  # seconds since the epoch
    end: float
    start_s: float  # seconds of audio since the stream began, over all its runs
    end_s: float
    confidence: float  # when it started
    peak_confidence: float
    id: str
    closed: (
        bool  # an `emotion_ended` says so; False: the monitor was killed meanwhile, and it ends with the last window
    )


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of which nothing was heard."""

    start: float  # seconds since the epoch
    end: float
    reason: str  # a status word, or NOT_RECORDED


@dataclass(frozen=True, slots=True)
class Loss:
    """Audio that the ring overwrote before it was read."""

    time: float  # of the window that says so, seconds since the epoch
    end_s: float  # seconds of audio since the stream began
    samples: int


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute by the stream's clock."""

    number: int  # of minutes since the epoch, or of audio
    heard_s: float
    speech_s: float


@dataclass(frozen=True, slots=True)
class StreamSession:
    """All that was kept of one stream."""

    name: str
    clock: Clock
    begin: float  # seconds since the epoch, of the first sample
    end: float  # of the last event
    audio_s: float  # length of its audio
    windows: int
    heard_s: float  # covered by windows
    speech_s: float  # of those, with voice activity
    intervals: tuple[Interval, ...]
    gaps: tuple[Gap, ...]
    losses: tuple[Loss, ...]
    minutes: tuple[Minute, ...]  # those of which something was heard
    skipped_windows: int
    overflow_events: int

    def seconds(self, interval: Interval, begin: float) -> tuple[float, float]:
        """Return where `interval` starts and ends: seconds of audio, or since `begin` (of the session)."""
        if self.clock == "audio":
            return interval.start_s, interval.end_s
        return interval.start - begin, interval.end - begin

    def duration_s(self, begin: float) -> float:
        """Return the length of the stream's track, in the same seconds."""
        return self.audio_s if self.clock == "audio" else max(0.0, self.end - begin)


@dataclass(frozen=True, slots=True)
class Session:
    """All streams of a journal, or of several."""

    infos: tuple[Info, ...]  # each different one once, in order
    streams: tuple[StreamSession, ...]

    @property
    def begin(self) -> float:
        """When the first stream began, seconds since the epoch."""
        return min((stream.begin for stream in self.streams), default=0.0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the models that ran, then any other that occurs."""
        known = [label for info in self.infos for label in info.labels]
        held = [interval.label for stream in self.streams for interval in stream.intervals]
        return tuple(dict.fromkeys([*known, *held]))


def read_session(events: Iterable[Event]) -> Session:
    """Return the session that `events`, in the order in which they were written, make up."""
    infos: dict[Info, None] = {}
    streams: dict[str, _Collected] = {}
    for event in events:
        if isinstance(event, Info):
            infos.setdefault(event)
            for collected in streams.values():
                collected.info_since = True
        else:
            streams.setdefault(event.stream, _Collected(event.stream)).add(event)
    return Session(tuple(infos), tuple(collected.finished() for collected in streams.values()))


def only_streams(events: Iterable[Event], names: Collection[str]) -> Iterator[Event]:
    """Yield the events of the streams of these names, and every info; all events where there are no names."""
    for event in events:
        if not names or isinstance(event, Info) or event.stream in names:
            yield event


@dataclass(slots=True)
class _Collected:
    """What is known of a stream so far."""

    name: str
    first_time: float | None = None
    begin: float | None = None  # from the first window
    last_time: float = 0.0
    offset_s: float = 0.0  # audio of the runs before this one
    newest: Window | None = None
    open: EmotionStarted | None = None
    open_start_s: float = 0.0
    live: bool = False  # some window had a latency
    info_since: bool = False  # an info line came since the newest window
    status: str = ""  # in the newest health message, or the one that explains why nothing is heard
    status_at: float = 0.0
    windows: int = 0
    heard_s: float = 0.0
    speech_s: float = 0.0
    skipped: int = 0
    overflows: int = 0
    intervals: list[Interval] = field(default_factory=list)
    of_id: dict[str, Interval] = field(default_factory=dict)  # the newest: ids of two runs may be the same
    gaps: list[Gap] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    minutes: dict[int, list[float]] = field(default_factory=dict)  # number → heard_s, speech_s

    def add(self, event: Window | State | EmotionStarted | EmotionEnded | Health) -> None:
        if self.first_time is None:
            self.first_time = event.time
        match event:
            case Window():
                self._window(event)
            case EmotionStarted() if not self._is_repeated(event):
                self._close_open()
                self.open, self.open_start_s = event, self.offset_s + event.start_s
            case EmotionEnded():
                self._ended(event)
            case Health():
                if event.status in _SILENT_STATUSES or self.status not in _SILENT_STATUSES:
                    # What explains a gap is not replaced by what came right after it.
                    self.status, self.status_at = event.status, event.time
                self.skipped = max(self.skipped, event.skipped_windows)
                self.overflows = max(self.overflows, event.overflow_events)
        self.last_time = max(self.last_time, event.time)

    def finished(self) -> StreamSession:
        self._close_open()
        last_s = self.newest.end_s if self.newest else max((i.end_s for i in self.intervals), default=0.0)
        begin = self.begin if self.begin is not None else self.first_time or 0.0
        return StreamSession(
            name=self.name,
            clock="wall" if self.live or not self.windows else "audio",
            begin=begin,
            end=max(begin, self.last_time),
            audio_s=self.offset_s + last_s,
            windows=self.windows,
            heard_s=self.heard_s,
            speech_s=self.speech_s,
            intervals=tuple(self.intervals),
            gaps=tuple(self.gaps),
            losses=tuple(self.losses),
            minutes=tuple(Minute(number, *figures) for number, figures in sorted(self.minutes.items())),
            skipped_windows=self.skipped,
            overflow_events=self.overflows,
        )

    def _window(self, window: Window) -> None:
        before = self.newest
        if self.begin is None:
            self.begin = window.time - window.end_s
        if before is not None and (window.seq <= before.seq or window.end_s < before.end_s):  # another run
            self._close_open()
            self.offset_s += before.end_s
            before_end_s = 0.0
        else:
            before_end_s = before.end_s if before else max(0.0, window.start_s)
        passed_s = window.end_s - before_end_s  # of audio
        self.heard_s += passed_s
        self.speech_s += passed_s * window.speech
        moment = self.offset_s + window.end_s if window.latency_ms is None else window.time
        minute = self.minutes.setdefault(int(moment // 60), [0.0, 0.0])
        minute[0] += passed_s
        minute[1] += passed_s * window.speech
        if before is not None and window.time - before.time > passed_s + GAP_S:
            explained = self.status in _SILENT_STATUSES and not self.info_since
            reason = self.status if explained else NOT_RECORDED
            self.gaps.append(Gap(before.time, max(before.time, window.time - passed_s), reason))
        if window.dropped_samples:
            self.losses.append(Loss(window.time, self.offset_s + window.end_s, window.dropped_samples))
        self.live = self.live or window.latency_ms is not None
        self.windows += 1
        self.info_since = False
        if window.time > self.status_at + GAP_S:
            self.status = ""
        self.newest = window

    def _ended(self, event: EmotionEnded) -> None:
        began = self.open
        if began is None or began.id != event.id:
            known = self.of_id.get(event.id)
            if known is None or known.start < event.time - event.duration_s - GAP_S:  # its start was not kept
                end_s = self.offset_s + (self.newest.end_s if self.newest else event.duration_s)
                self._keep(event, event.time - event.duration_s, end_s - event.duration_s, event.peak_confidence)
            return
        self.open = None
        if self.info_since and self.newest is not None and event.time - self.newest.time > GAP_S:
            self.open = began  # the next run ends what a killed one left open
            self._close_open()
        else:
            self._keep(event, began.time, self.open_start_s, began.confidence)

    def _keep(self, event: EmotionEnded, start: float, start_s: float, confidence: float) -> None:
        interval = Interval(
            event.label, start, max(start, event.time), start_s, start_s + event.duration_s, confidence,
            event.peak_confidence, event.id, True,
        )  # fmt: skip
        self.intervals.append(interval)
        self.of_id[event.id] = interval

    def _is_repeated(self, event: EmotionStarted) -> bool:
        """Return whether `event` came before: after a broken connection one may come twice."""
        known = self.open if self.open is not None and self.open.id == event.id else self.of_id.get(event.id)
        return known is not None and event.time == (known.time if isinstance(known, EmotionStarted) else known.start)

    def _close_open(self) -> None:
        """End an emotion whose end was not kept with the last window of its run."""
        began, newest = self.open, self.newest
        self.open = None
        if began is None:
            return
        end = max(began.time, newest.time if newest else began.time)
        end_s = max(self.open_start_s, self.offset_s + newest.end_s if newest else self.open_start_s)
        interval = Interval(
            began.label, began.time, end, self.open_start_s, end_s, began.confidence, began.confidence, began.id, False
        )
        self.intervals.append(interval)
        self.of_id[began.id] = interval
