"""Replay a journal at its own pace, or faster: to a screen and to publishers, as it was."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from streamer.errors import StreamerError
from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Info, State, Window
from streamer.feed.board import Board
from streamer.feed.snapshot import Snapshot
from streamer.feed.watch import show_status
from streamer.pipeline.broker_view import BrokerWatch
from streamer.publish.publisher import Publisher

LONGEST_PAUSE_S = 10.0  # of recorded time: a longer one is jumped over, with a note
LOOK_S = 0.25  # between two looks at the broker's connection
DRAIN_S = 30.0  # at the end, for publishers to send what waits


class Replay:
    """A `Feed` whose clock is the recording's: what it shows is dated as it was.

    Args:
        events: in the order in which they were written; read as they are needed.
        speed: times as fast as it was.
        publishers: started and closed with the replay.
        timeline_s: length of the screen's timeline.
        monotonic: seconds of real time.

    Attributes:
        ended: set when all was replayed, or it failed.
        failure: what failed; None while nothing has.

    Raises:
        StreamerError: there is no event.
    """

    def __init__(
        self,
        events: Iterable[Event],
        speed: float,
        publishers: Sequence[Publisher] = (),
        *,
        timeline_s: float = 300.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = _timed(events)
        self._first = next(self._events)
        self._speed = speed
        self._publishers = publishers
        self._monotonic = monotonic
        self._anchor = (self._first.due, monotonic())  # a moment of the recording, and of now
        self._horizon = self._first.due  # the clock waits for an event that is late, and at the end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self.board = Board(timeline_s=timeline_s, wall=self.now)
        self._broker = BrokerWatch(self.board, publishers)
        self.ended = threading.Event()
        self.failure: Exception | None = None

    def now(self) -> float:
        """Return the recording's time, seconds since the epoch."""
        due, began = self._anchor
        return min(self._horizon, due + (self._monotonic() - began) * self._speed)

    def start(self) -> None:
        """Begin, in a thread."""
        for publisher in self._publishers:
            publisher.start()
        self._anchor = (self._first.due, self._monotonic())
        self._thread.start()

    def stop(self) -> None:
        """End now. Safe to call twice."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)
        for publisher in self._publishers:
            publisher.close()

    def snapshot(self) -> Snapshot:
        """Return what the screen shows."""
        return self.board.snapshot()

    def _run(self) -> None:
        try:
            self._play(self._first)
            for timed in self._events:
                if self._stopping.is_set():
                    return
                self._play(timed)
            for stream in self.board.snapshot().streams:
                self.board.status(stream.name, "ended", "The recording is over; this shows its last windows.")
            self._drain()
        except Exception as error:
            self.failure = error
        finally:
            self.ended.set()

    def _play(self, timed: "_Timed") -> None:
        pause_s = timed.due - self.now()
        if pause_s > LONGEST_PAUSE_S:
            self.board.log("note", f"nothing was recorded for {_duration(pause_s)}; jumped over")
            self._anchor = (timed.due, self._monotonic())
        self._horizon = timed.due
        self._wait(timed.due)
        if self._stopping.is_set():
            return
        event = timed.event
        self.board.event(event)
        if not isinstance(event, Info):
            show_status(self.board, event.stream, event)
        for publisher in self._publishers:
            publisher.publish(event)

    def _wait(self, due: float) -> None:
        while not self._stopping.is_set():
            wait_s = (due - self.now()) / self._speed
            if wait_s <= 0:
                return
            self._stopping.wait(min(LOOK_S, wait_s))
            self._broker.look()

    def _drain(self) -> None:
        """Let publishers send what waits: at their end they give it a second only."""
        deadline = self._monotonic() + DRAIN_S
        while not self._stopping.wait(LOOK_S):
            if not any(each.queued for each in self._broker.look() if each.online) or self._monotonic() > deadline:
                return


@dataclass(frozen=True, slots=True)
class _Timed:
    """An event, and when in the recording it is due."""

    due: float
    event: Event


@dataclass(slots=True)
class _Positions:
    """Where a stream is, to time events of a file that was computed faster than it plays."""

    begin: float  # seconds since the epoch, of its first sample
    offset_s: float = 0.0  # audio of its earlier runs
    newest: Window | None = None
    starts: dict[str, float] = field(default_factory=dict)  # id of an emotion → where it started
    held: tuple[str | None, float] | None = None  # the label, and since when


def _timed(events: Iterable[Event]) -> Iterator[_Timed]:
    """Yield the events with their moments, which never fall.

    Raises:
        StreamerError: there is none.
    """
    streams: dict[str, _Positions] = {}
    waiting: list[Info] = []  # they have no time of their own: due with the next event
    due: float | None = None
    for event in events:
        if isinstance(event, Info):
            waiting.append(event)
            continue
        event = _placed(event, streams)
        due = event.time if due is None else max(due, event.time)
        yield from (_Timed(due, info) for info in waiting)
        waiting.clear()
        yield _Timed(due, event)
    if due is None:
        raise StreamerError("There is nothing to replay: the recording names a model and holds no event.")
    yield from (_Timed(due, info) for info in waiting)


def _placed(
    event: Window | State | EmotionStarted | EmotionEnded | Health, streams: dict[str, _Positions]
) -> Window | State | EmotionStarted | EmotionEnded | Health:
    """Return `event` with the time at which it would have come, had its file been played: where that is later."""
    positions = streams.get(event.stream)
    if isinstance(event, Window):
        if event.latency_ms is not None:
            return event
        if positions is None:
            positions = streams[event.stream] = _Positions(event.time - event.end_s)
        before = positions.newest
        if before is not None and event.seq <= before.seq:
            positions.offset_s += before.end_s
        positions.newest = event
        position_s = event.end_s
    elif positions is None or positions.newest is None:
        return event
    elif isinstance(event, EmotionStarted):
        positions.starts[event.id] = position_s = event.start_s
    elif isinstance(event, EmotionEnded):
        position_s = positions.starts.pop(event.id, positions.newest.end_s - event.duration_s) + event.duration_s
    else:
        position_s = positions.newest.end_s
    moment = positions.begin + positions.offset_s + position_s
    if event.time >= moment - 1.0:
        return event
    if isinstance(event, State):
        if positions.held is None or positions.held[0] != event.label:
            positions.held = (event.label, moment)
        return replace(event, time=moment, since=positions.held[1])
    return replace(event, time=moment)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
