"""The loop that joins the rooms: rings in, events out, one thread for all streams.

The worker never waits for the screen, the broker or the disk: `outlet` must return at once (only a `--fast` reader that
asks to lose nothing may hold it up).
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING

from streamer.audio.clock import SYSTEM, Clock
from streamer.audio.source import Source
from streamer.emotion.enrolment import Enrolment, MeasuredVoice
from streamer.emotion.profile import NOT_CALIBRATABLE, shift_of
from streamer.errors import UsageError
from streamer.events import Event
from streamer.feed.board import Board
from streamer.feed.snapshot import EnrolmentView
from streamer.pipeline.stream import StreamRuntime, StreamSettings

if TYPE_CHECKING:  # it loads torch, and the screen is there before that is through
    from streamer.pipeline.inference import Inference, WindowResult

BEHIND_HOPS = 3  # so many hops waiting mean that the worker is behind: larger steps, windows in between skipped
MOST_HOPS = 8  # the largest step, so that one stream that is far behind does not hold up the others
IDLE_S = 0.1  # how long to wait for audio before statuses are looked at again


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A source that comes, with the mean of its voice, [128], if that is known."""

    source: Source
    voice: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class _Departure:
    """A stream that goes."""

    stream: str


@dataclass(frozen=True, slots=True)
class _Enrol:
    """A voice to be learnt from so many seconds of speech; None: no longer."""

    stream: str
    wanted_s: float | None


class Worker:
    """Hears all streams, one row of the batch each, and hands their events to the board and the outlet.

    Streams may come and go while it runs: `add` and `remove` are for any thread and return at once; the worker's own
    thread takes them up before its next step, in their order. `roster` is called there with the names of all streams
    whenever those changed, and `enrolled` with the name of a stream and what was heard of its voice, when all that was
    wanted was heard, or when the stream ended before. `voices` are the means of voices known from before, by stream.
    """

    def __init__(
        self,
        inference: "Inference",
        sources: Sequence[Source],
        settings: StreamSettings,
        *,
        board: Board,
        outlet: Callable[[Event], None],
        wake: threading.Event,
        roster: Callable[[tuple[str, ...]], None] = lambda names: None,
        voices: Mapping[str, tuple[float, ...]] = MappingProxyType({}),
        enrolled: Callable[[str, MeasuredVoice], None] = lambda name, voice: None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._inference = inference
        self._settings = settings
        self._board = board
        self._outlet = outlet
        self._wake = wake
        self._roster = roster
        self._enrolled = enrolled
        self._clock = clock
        self._stop = threading.Event()
        self._changes: SimpleQueue[_Arrival | _Departure | _Enrol] = SimpleQueue()
        self._names = {source.name for source in sources}  # as they are once all changes are taken up
        self._names_lock = threading.Lock()
        self._run_id = secrets.token_hex(2)
        self._streams = {
            source.name: StreamRuntime(source, settings, f"{self._run_id}-{row}" if len(sources) > 1 else self._run_id)
            for row, source in enumerate(sources)
        }
        self._admitted = len(sources)  # so far: numbers the streams of this run
        self._rows = dict(enumerate(self._streams.values()))  # row of the batch → the stream it belongs to
        self._calibrated: set[str] = set()
        for row, stream in self._rows.items():
            if stream.name in voices:
                self._apply_voice(row, stream, voices[stream.name])

    @property
    def calibrated(self) -> tuple[str, ...]:
        """The streams whose voice is known; for the worker's own thread."""
        return tuple(name for name in self._streams if name in self._calibrated)

    def run(self) -> None:
        """Hear until every source is over or `stop` is called, in the caller's thread; then close what is open."""
        while not self._stop.is_set() and not self._over():
            self._wake.clear()
            if not self.tick():
                self._wake.wait(IDLE_S)
        for stream in self._streams.values():
            if not stream.finished:
                self._send(stream.close())

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()
        self._wake.set()

    def add(self, source: Source, voice: tuple[float, ...] | None = None) -> None:
        """Hear `source` too while the others go on, with the mean of its voice if that is known; from any thread.

        Raises:
            UsageError: another stream has its name.
        """
        with self._names_lock:
            if source.name in self._names:
                raise UsageError(f"There is a stream named {source.name!r} already; give the new one another name.")
            self._names.add(source.name)
            self._changes.put(_Arrival(source, voice))
        self._wake.set()

    def remove(self, name: str) -> None:
        """Forget the stream of that name; what it holds ends, what it has not heard is lost; from any thread.

        With its last stream `run` returns.

        Raises:
            UsageError: no stream has that name.
        """
        with self._names_lock:
            if name not in self._names:
                raise UsageError(f"There is no stream named {name!r}; there are: {', '.join(sorted(self._names))}.")
            self._names.remove(name)
            self._changes.put(_Departure(name))
        self._wake.set()

    def enrol(self, name: str, wanted_s: float | None) -> None:
        """Learn the voice on that stream from so many seconds of speech, anew; None: no longer. From any thread."""
        self._changes.put(_Enrol(name, wanted_s))
        self._wake.set()

    def tick(self) -> bool:
        """Hear what is waiting, once, and look at every stream. True when there was any audio."""
        self._take_up_changes()
        busy = self._hear()
        self._finish_ended()
        for stream in self._streams.values():
            self._send(stream.pause())
            self._look(stream)
            health = stream.health(self._clock.time(), self._clock.monotonic())
            if health is not None:
                self._send([health])
        return busy

    def _over(self) -> bool:
        return self._changes.empty() and all(stream.finished for stream in self._streams.values())

    def _take_up_changes(self) -> None:
        while True:
            try:
                change = self._changes.get_nowait()
            except Empty:
                return
            match change:
                case _Enrol(name, wanted_s):
                    self._enrol(name, wanted_s)
                    continue
                case _Departure(name):
                    self._let_go(name)
                case _Arrival(source, voice):
                    self._admit(source, voice)
            self._roster(tuple(self._streams))

    def _admit(self, source: Source, voice: tuple[float, ...] | None) -> None:
        stream = StreamRuntime(source, self._settings, f"{self._run_id}-{self._admitted}")
        self._admitted += 1
        row = self._inference.add()
        self._streams[source.name] = self._rows[row] = stream
        if voice is not None:
            self._apply_voice(row, stream, voice)

    def _enrol(self, name: str, wanted_s: float | None) -> None:
        row = next((row for row, stream in self._rows.items() if stream.name == name), None)
        if row is None:
            return  # it went, or ended, meanwhile
        if self._settings.neutral_mean is None:
            self._board.log("note", NOT_CALIBRATABLE, name)
            return
        self._rows[row].enrolment = None if wanted_s is None else Enrolment(wanted_s)
        self._inference.include_embedding(row, wanted_s is not None)
        self._board.enrolment(name, None if wanted_s is None else EnrolmentView(0.0, wanted_s))

    def _follow_enrolment(self, row: int, *, over: bool = False) -> None:
        """Show how much was heard; apply it when that is enough, and tell when it is that or the stream is over."""
        stream = self._rows[row]
        if stream.enrolment is None:
            return
        voice = stream.enrolment.measured()
        self._board.enrolment(stream.name, EnrolmentView(voice.voice_s, voice.wanted_s))
        if not (over or voice.enough):
            return
        self._enrol(stream.name, None)
        if voice.enough:
            self._apply_voice(row, stream, voice.mean)
            self._roster(tuple(self._streams))
        self._enrolled(stream.name, voice)

    def _apply_voice(self, row: int, stream: StreamRuntime, mean: tuple[float, ...]) -> None:
        assert self._settings.neutral_mean is not None, "voices are known only to checkpoints that have a middle"
        self._inference.set_profile_offset(row, shift_of(mean, self._settings.neutral_mean))
        self._calibrated.add(stream.name)
        self._board.calibrated(stream.name, True)

    def _let_go(self, name: str) -> None:
        stream = self._streams[name]
        if not stream.finished:
            self._follow_enrolment(self._row_of(stream), over=True)
        del self._streams[name]
        self._calibrated.discard(name)
        if not stream.finished:
            self._send(stream.close())
            self._give_up_row(stream)
        self._look(stream)
        self._send([stream.health_now(self._clock.time())])
        self._board.forget(name)

    def _give_up_row(self, stream: StreamRuntime) -> None:
        stream.finished = True
        row = self._row_of(stream)
        del self._rows[row]
        self._inference.remove(row)

    def _row_of(self, stream: StreamRuntime) -> int:
        return next(row for row, other in self._rows.items() if other is stream)

    def _hear(self) -> bool:
        audio, behind = {}, set()
        for row, stream in self._rows.items():
            if stream.source.realtime and stream.hops_waiting >= BEHIND_HOPS:
                behind.add(row)
            chunk = stream.read(MOST_HOPS)
            if chunk is None:
                continue
            if chunk.broken:
                self._inference.reset(row)
                self._send(stream.restart(chunk, self._clock.time()))
            audio[row] = chunk.samples
        began = self._clock.monotonic()
        results = self._inference.step(audio, newest_only=behind) if audio else []
        spent_s = self._clock.monotonic() - began
        for row, samples in audio.items():
            self._rows[row].spent(spent_s, len(samples))
        for result in results:
            self._emit(self._rows[result.row], result)
            self._follow_enrolment(result.row)
        return bool(audio)

    def _finish_ended(self) -> None:
        """A stream whose source ended and whose ring is empty gives its last window and closes its emotion."""
        for row, stream in list(self._rows.items()):
            if stream.exhausted:
                last = self._inference.flush(row)
                if last is not None:
                    self._emit(stream, last)
                self._follow_enrolment(row, over=True)
                self._give_up_row(stream)
                self._send(stream.close())

    def _look(self, stream: StreamRuntime) -> None:
        status, detail, device = stream.look(self._clock.monotonic())
        self._board.status(stream.name, status, detail, device)

    def _emit(self, stream: StreamRuntime, result: "WindowResult") -> None:
        events, output = stream.events_of(result, self._clock.time())
        self._send(events)
        smoothed = None if output.smoothed is None else tuple(output.smoothed.items())
        self._board.inner(stream.name, result.attention, smoothed)

    def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            self._board.event(event)
            self._outlet(event)
