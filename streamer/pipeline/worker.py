"""The loop of the live path: rings in, events out, one thread for all streams.

The worker never waits for the screen, the broker or the disk: its `WorkerSink` returns at once.
"""

import math
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from streamer.audio.clock import SLOWED, STEP_S, SYSTEM, Clock, WallClock
from streamer.errors import UsageError
from streamer.events import Event
from streamer.pipeline.profiles import VoiceProfiles
from streamer.pipeline.sink import WorkerSink
from streamer.pipeline.stream import StreamRuntime, StreamSettings
from streamer.sources.source import Source

if TYPE_CHECKING:  # it loads torch, and the screen is there before that is through
    from streamer.pipeline.inference import Inference
    from streamer.pipeline.windows import WindowResult

BEHIND_HOPS = 3  # so many hops waiting mean that the worker is behind: larger steps, windows in between skipped
MAX_HOPS = 8  # the largest step, so that one stream that is far behind does not hold up the others
PATIENCE_S = 3.0  # for which no window is skipped after streams woke from their rest; the ring holds more
IDLE_S = 0.1  # the longest wait for audio before statuses are looked at again
SET_BACK = (
    "The clock of this machine was set back by {:.0f} s. Times of events never go back: they run at half speed until "
    "it has caught up, in {:.0f} minutes."
)


@dataclass(frozen=True, slots=True)
class _Add:
    """A source to be taken in."""

    source: Source


@dataclass(frozen=True, slots=True)
class _Remove:
    """A stream to be forgotten."""

    stream: str


@dataclass(frozen=True, slots=True)
class _Replace:
    """A source to be taken in, in place of the stream of its name."""

    source: Source


@dataclass(frozen=True, slots=True)
class _Configure:
    """Other thresholds."""

    settings: StreamSettings
    vad_threshold: float


class Worker:
    """Runs all streams, one row of the batch each, and reports their events and statuses to the sink.

    Streams may come and go while it runs: `add` and `remove` are for any thread and return at once; the worker's own
    thread applies them before its next step, in their order.

    Args:
        inference: with one row per source, in their order.
        sources: at first.
        settings: of every stream.
        sink: takes the results.
        wake: set when there is new audio; the rings of the sources set it.
        profiles: enrols speakers and applies their voice profiles; None: there are none.
        clock: of events and of all that is due.
    """

    def __init__(
        self,
        inference: "Inference",
        sources: Sequence[Source],
        settings: StreamSettings,
        *,
        sink: WorkerSink,
        wake: threading.Event | None = None,
        profiles: VoiceProfiles | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._inference = inference
        self._settings = settings
        self._sink = sink
        self._wake = wake or threading.Event()
        self._profiles = profiles
        self._clock = clock
        self._wall = WallClock(clock)
        self._lead_s = 0.0  # of our times before the system's clock, when that was said last
        self.clock_notice = ""  # one sentence, while the times of events are ahead
        self._stop = threading.Event()
        self.lasting = False  # whether `run` goes on without any stream
        self.ticked_at = clock.monotonic()  # when the last step ended
        self._patient_until = -math.inf  # monotonic
        self._changes: SimpleQueue[_Add | _Remove | _Replace | _Configure] = SimpleQueue()
        self._names = {source.name for source in sources}  # as they are once all changes are applied
        self._names_lock = threading.Lock()
        self._run_id = secrets.token_hex(2)
        self._streams = {
            source.name: StreamRuntime(source, settings, f"{self._run_id}-{row}" if len(sources) > 1 else self._run_id)
            for row, source in enumerate(sources)
        }
        self._added = len(sources)  # so far: numbers the streams of this run
        self._rows = dict(enumerate(self._streams.values()))  # row of the batch → the stream it belongs to
        if profiles is not None:
            for row, stream in self._rows.items():
                profiles.attach(row, stream.name)

    def run(self) -> None:
        """Run in the caller's thread until every source is over or `stop` is called; then close what is open."""
        # The sources may have run while the model was warmed up.
        self._patient_until = self._clock.monotonic() + PATIENCE_S
        while not self._stop.is_set() and not self._is_over():
            self._wake.clear()
            if not self.tick():
                self._wake.wait(IDLE_S)
        for stream in self._streams.values():
            if not stream.drained:
                self._send(stream.close())

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()
        self._wake.set()

    def add(self, source: Source) -> None:
        """Take in `source` while the others go on; from any thread.

        Raises:
            UsageError: another stream has its name.
        """
        with self._names_lock:
            if source.name in self._names:
                raise UsageError(f"There is a stream named {source.name!r} already; give the new one another name.")
            self._names.add(source.name)
            self._changes.put(_Add(source))
        self._wake.set()

    def remove(self, name: str) -> None:
        """End and forget the stream of that name; audio that it has not processed is dropped; from any thread.

        With its last stream `run` returns, unless it is `lasting`.

        Raises:
            UsageError: no stream has that name.
        """
        with self._names_lock:
            self._check_name(name)
            self._names.remove(name)
            self._changes.put(_Remove(name))
        self._wake.set()

    def replace(self, source: Source) -> None:
        """End the stream of that name and go on with `source` under it, in one step; from any thread.

        Raises:
            UsageError: no stream has that name.
        """
        with self._names_lock:
            self._check_name(source.name)
            self._changes.put(_Replace(source))
        self._wake.set()

    def configure(self, settings: StreamSettings, vad_threshold: float) -> None:
        """Have other thresholds from the next step on, for every stream; from any thread.

        Args:
            settings: with the labels, window and hop that the worker has.
            vad_threshold: probability from which speech begins.
        """
        self._changes.put(_Configure(settings, vad_threshold))
        self._wake.set()

    def _check_name(self, name: str) -> None:
        if name not in self._names:
            raise UsageError(f"There is no stream named {name!r}; there are: {', '.join(sorted(self._names))}.")

    def tick(self) -> bool:
        """Process the audio that is waiting, once, and report on every stream. True when there was any audio."""
        self._follow_clock()
        self._apply_changes()
        busy = self._process_audio()
        self._flush_ended()
        for stream in self._streams.values():
            self._send(stream.pause())
            self._report(stream)
            health = stream.health(self._time(), self._clock.monotonic())
            if health is not None:
                self._send([health])
        self.ticked_at = self._clock.monotonic()
        return busy

    def _time(self) -> float:
        """Return the time of events: the wall clock's, but never backwards."""
        return self._wall.epoch_s(self._clock.monotonic())

    def _follow_clock(self) -> None:
        """Follow the system's clock, and say where it was set back, for times do not go back with it."""
        self._wall.follow()
        lead_s = self._wall.lead_s()
        if lead_s <= STEP_S:
            self._lead_s, self.clock_notice = 0.0, ""
        elif lead_s > self._lead_s + STEP_S:
            self._lead_s, self.clock_notice = lead_s, SET_BACK.format(lead_s, lead_s / SLOWED / 60)
            self._sink.note(None, self.clock_notice)

    def _is_over(self) -> bool:
        return not self.lasting and self._changes.empty() and all(stream.drained for stream in self._streams.values())

    def _apply_changes(self) -> None:
        """Add and remove streams, then begin and cancel enrolments, as requested since the last tick."""
        while True:
            try:
                change = self._changes.get_nowait()
            except Empty:
                break
            match change:
                case _Remove(name):
                    self._remove_stream(name)
                case _Add(source):
                    self._add_stream(source)
                case _Replace(source):
                    self._end_stream(source.name)
                    self._add_stream(source)
                case _Configure(settings, vad_threshold):
                    self._configure(settings, vad_threshold)
            self._sink.roster_changed(tuple(self._streams))
        if self._profiles is not None:
            self._profiles.take_requests()

    def _configure(self, settings: StreamSettings, vad_threshold: float) -> None:
        self._settings = settings
        self._inference.configure(vad_threshold, settings.rule.min_speech)
        for stream in self._streams.values():
            stream.configure(settings)

    def _add_stream(self, source: Source) -> None:
        stream = StreamRuntime(source, self._settings, f"{self._run_id}-{self._added}")
        self._added += 1
        row = self._inference.add()
        self._streams[source.name] = self._rows[row] = stream
        if self._profiles is not None:
            self._profiles.attach(row, source.name)

    def _remove_stream(self, name: str) -> None:
        self._end_stream(name)
        self._sink.stream_removed(name)

    def _end_stream(self, name: str) -> None:
        stream = self._streams.pop(name)
        if not stream.drained:
            self._send(stream.close())
            self._release_row(stream)
        if self._profiles is not None:
            self._profiles.forget(name)
        self._report(stream)
        self._send([stream.measure_health(self._time())])

    def _release_row(self, stream: StreamRuntime) -> None:
        """Give the stream's row back: nothing more of it will be encoded."""
        if self._profiles is not None:
            self._profiles.detach(stream.name)
        stream.drained = True
        row = next(row for row, other in self._rows.items() if other is stream)
        del self._rows[row]
        self._inference.remove(row)

    def _process_audio(self) -> bool:
        audio, behind = {}, set()
        for row, stream in self._rows.items():
            late = stream.source.realtime and stream.hops_waiting >= BEHIND_HOPS
            if late and self._clock.monotonic() >= self._patient_until:
                behind.add(row)
            chunk = stream.read(MAX_HOPS)
            if chunk is None:
                continue
            if chunk.broken:
                self._inference.reset(row)
                if stream.moved():
                    self._inference.forget_history(row)
                self._send(stream.restart(chunk, self._time()))
            audio[row] = chunk.samples
        began = self._clock.monotonic()
        results = self._inference.step(audio, newest_only=behind) if audio else []
        compute_s = self._clock.monotonic() - began
        self._be_patient()
        everything = max(1, sum(map(len, audio.values())))
        for row, samples in audio.items():
            self._rows[row].record_cost(compute_s, len(samples), len(samples) / everything)
        for result in results:
            self._emit(self._rows[result.row], result)
        return bool(audio)

    def _be_patient(self) -> None:
        """Skip no windows just because streams that rested woke together, and what they missed takes long to encode."""
        now = self._clock.monotonic()
        # Not for ever: where they wake all the time, the machine is behind.
        if self._inference.caught_up and now >= self._patient_until + PATIENCE_S:
            self._patient_until = now + PATIENCE_S

    def _flush_ended(self) -> None:
        """Emit the last window of each stream whose source ended and whose ring is empty, and close its emotion."""
        for row, stream in list(self._rows.items()):
            if stream.exhausted:
                last = self._inference.flush(row)
                if last is not None:
                    self._emit(stream, last)
                self._release_row(stream)
                self._send(stream.close())

    def _report(self, stream: StreamRuntime) -> None:
        """Report the stream's status, and its input level when that is due."""
        now = self._clock.monotonic()
        self._sink.status(stream.name, *stream.status(now))
        if self._sink.meters and stream.meter_due(now):
            self._sink.update(stream.name, level=stream.level(now))

    def _emit(self, stream: StreamRuntime, result: "WindowResult") -> None:
        """Report one window, and let an enrolment use it."""
        output = stream.window_events(result, self._time())
        self._send(output.events)
        self._sink.update(
            stream.name, attention=result.attention, smoothed=output.smoothed, familiarity=result.familiarity
        )
        if self._profiles is not None and self._profiles.observe(stream.name, result, output.window):
            self._sink.roster_changed(tuple(self._streams))

    def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            self._sink.event(event)
