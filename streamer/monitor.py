"""A running emotion monitor: sources, worker, board and publishers, started and stopped together."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from streamer.arrays import Samples
from streamer.emotion.enrolment import USUAL_S
from streamer.errors import StreamerError, UsageError
from streamer.events import Event
from streamer.feed.board import Board
from streamer.feed.snapshot import BrokerStatus, BrokerView, Snapshot
from streamer.pipeline.memory import return_freed_memory, uncollected, weights_apart
from streamer.pipeline.profiles import EnrolmentResult
from streamer.publish.event_queue import EventQueue
from streamer.publish.publisher import Publisher
from streamer.settings import Settings
from streamer.sources.microphone import Microphone
from streamer.sources.muting import Mute, MutedBy, Muting
from streamer.sources.open import SourceOptions, SourceSpec, open_source, parse_source
from streamer.sources.source import Source
from streamer.torch_libraries import load_torch_libraries

if TYPE_CHECKING:  # it loads torch
    from streamer.pipeline.build import Pipeline

LOOK_S = 0.25  # between two looks at the broker's connection and at the mutes on disk
TRIM_S = 60.0  # between two returns of freed memory


class Monitor:
    """Classifies the emotion in audio sources, live; also the dashboard's `Feed` and `CaptureControls`.

    As a library:

        with Monitor.open("mic:Yeti", mqtt="off") as monitor:
            for event in monitor:  # Window, State, EmotionStarted, …
                print(event)

    `start` returns at once: a thread of its own loads the model and warms it up, then starts the sources, so that
    nothing is captured before it can be processed. Streams may come and go meanwhile, with `add` and `remove`.

    Events of an iteration come from a queue of 10,000. A consumer that is slower than the monitor loses the oldest
    ones, which `events_lost` counts; it never holds the monitor up.

    Args:
        settings: as of config.toml; None: the built-in defaults. `streamer.config.load()` reads the user's.
        on_enrolled: receives the result of every enrolment, in the worker's thread; None: voice profiles are stored.
        meters: measure input levels for `snapshot`, at some 0.3 % of a core per stream.
        lasting: go on without any stream, until `stop`.

    Attributes:
        ended: set when nothing more will come: every source is over, or something failed.
        failed: set when something failed.
        failure: what failed; None while nothing has.
        board: holds what `snapshot` returns.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        on_enrolled: Callable[[EnrolmentResult], None] | None = None,
        meters: bool = True,
        lasting: bool = False,
    ) -> None:
        self._settings = settings or Settings()
        self._lasting = lasting
        self._on_enrolled = on_enrolled
        self._meters = meters
        # By the stream's name. Replaced as a whole, never changed, since other threads read it.
        self._sources: dict[str, Source] = {}
        self._roster_lock = threading.Lock()  # held while streams come, go or are started
        self._muting = Muting()
        self._publishers: list[Publisher] = []
        self._queue: EventQueue | None = None
        self._resources = ExitStack()
        self._wake = threading.Event()  # set by every ring when audio came in
        self._pipeline: Pipeline | None = None  # once the model is loaded
        self._enrol_first: dict[str, float] = {}  # to be enrolled as soon as there is a worker: seconds of speech
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self.board = Board(timeline_s=self._settings.dashboard.timeline_s)
        self.failure: Exception | None = None
        self.ended = threading.Event()
        self.failed = threading.Event()

    @classmethod
    def open(
        cls,
        *sources: str | SourceSpec | Source,
        mqtt: str = "off",
        fast: bool = False,
        settings: Settings | None = None,
    ) -> Self:
        """Return a monitor of `sources`, not started yet: use it in a `with` statement.

        Args:
            sources: `mic`, `mic:NAME-OR-INDEX`, `demo`, the path of a recording, a URL, …; none: `audio.source` of the
            settings. mqtt: the URL of a broker, `embedded` to start one, or `off`. fast: process recordings as fast as
            the model goes, not in real time. settings: as of config.toml; None: the built-in defaults.

        Raises:
            UsageError: a source, a URL or a name cannot be used.
        """
        settings = settings or Settings()
        monitor = cls(settings)
        for source in sources or (settings.audio.source,):
            monitor.add(source, replace(monitor.source_options, fast=fast))
        if mqtt != "off":
            from streamer.publish.open import open_mqtt

            try:
                table = settings.mqtt.model_copy(update={"url": mqtt})
                publisher = open_mqtt(table, monitor._resources, monitor.mute_remotely)
            except BaseException:
                monitor.stop()  # an embedded broker may have been started
                raise
            assert publisher is not None, "the url is not `off`"
            monitor.publish_to(publisher)
        return monitor

    def __enter__(self) -> Self:
        """Start, and keep events for an iteration from now on."""
        self._queue = EventQueue()
        self.publish_to(self._queue)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Event]:
        """Yield events, in the order in which they came, until every source is over.

        Raises:
            StreamerError: the monitor was not entered with `with`; or what `failure` is, after the last event.
        """
        if self._queue is None:
            raise StreamerError(
                "Only a monitor that was entered keeps events; write `with Monitor.open(…) as monitor:`."
            )
        yield from self._queue
        if self.failure is not None:
            raise self.failure

    @property
    def events_lost(self) -> int:
        """Events that the iteration lost because its consumer did not keep up."""
        return 0 if self._queue is None else self._queue.stats().shed

    @property
    def source_options(self) -> SourceOptions:
        """How `add` opens a source by default: as the [audio] table has it."""
        audio = self._settings.audio
        channel = audio.channel if isinstance(audio.channel, int) else None
        return SourceOptions(
            ring_s=audio.ring_s, channel=channel, block_ms=audio.block_ms, password_file=audio.source_password_file
        )

    def publish_to(self, publisher: Publisher) -> None:
        """Hand all events to `publisher`, which the monitor starts and closes. Call before `start`."""
        self._publishers.append(publisher)

    def start(self) -> None:
        """Start everything."""
        for name, source in self._sources.items():
            self.board.status(name, "starting", "loading the model …", source.status().device)
        for notice in sorted(self.notices()):
            self.board.log("note", notice)
        for publisher in self._publishers:
            publisher.start()
        self._thread.start()
        threading.Thread(target=self._look_around, name="look-out", daemon=True).start()

    def stop(self) -> None:
        """Stop everything: microphones first, so that nothing is captured from this call on. Safe to call twice."""
        self._stopping.set()
        with self._roster_lock:
            sources = list(self._sources.values())
        for source in sources:
            source.stop()
        if self._pipeline is not None:
            self._pipeline.worker.stop()
        if self._thread.ident is not None:
            # A model that is still being loaded is not waited for: the user wants out.
            self._thread.join(5.0 if self._pipeline is not None else 0.5)
        if self._pipeline is not None:
            self._pipeline.store.close()
        for publisher in self._publishers:
            publisher.close()
        self._resources.close()

    def add(
        self, source: str | SourceSpec | Source, options: SourceOptions | None = None, *, name: str | None = None
    ) -> str:
        """Monitor one more source while the others go on; from any thread.

        Args:
            source: as on the command line (`mic`, a recording's path, a URL, …), or an opened source, not started.
            options: how to open it; None: `source_options`.
            name: of the stream; None: the source's own.

        Returns:
            The name of the stream.

        Raises:
            UsageError: another stream has its name, or the text names no source.
            StreamerError: the source cannot ever work, or the monitor has ended.
        """
        if isinstance(source, str):
            source = parse_source(source)
        if isinstance(source, SourceSpec):
            source = open_source(source, options or self.source_options, name=name)
        with self._roster_lock:
            if source.name in self._sources:
                raise UsageError(f"There is a stream named {source.name!r} already; give the new one another name.")
            if self._stopping.is_set() or self.ended.is_set():
                raise StreamerError(f"The monitor has ended and cannot add {source.name!r}; start a new one.")
            source.ring.on_write = self._wake
            self._muting.adopt(source)
            if self._pipeline is not None:
                source.start()  # first, since it may refuse
            self.board.status(source.name, "starting", device=source.status().device)
            self._show_mute(source.name)
            if self._pipeline is not None:
                self._pipeline.add(source)
            self._sources = {**self._sources, source.name: source}
        return source.name

    def remove(self, stream: str) -> None:
        """End and forget `stream` while the others go on; from any thread.

        With its last stream the monitor has ended, unless it is `lasting`; so add the next one first.

        Raises:
            UsageError: there is no such stream.
        """
        with self._roster_lock:
            source = self._source(stream)
            self._sources = {name: other for name, other in self._sources.items() if name != stream}
            self._muting.forget(stream)
            if self._pipeline is None:
                self.board.forget(stream)
            else:
                self._pipeline.worker.remove(stream)
        source.stop()

    def replace(self, source: Source) -> None:
        """End the stream of the source's name and go on with `source` under it; from any thread.

        A stream that is muted stays so.

        Args:
            source: opened, not started.

        Raises:
            UsageError: there is no such stream.
            StreamerError: the source cannot ever work; the stream goes on as it was.
        """
        with self._roster_lock:
            before = self._source(source.name)
            source.ring.on_write = self._wake
            self._mute_alike(source)
            if self._pipeline is not None:
                source.start()  # first, since it may refuse
                self._pipeline.replace(source)
            self._sources = {**self._sources, source.name: source}
            self._mute_alike(source)  # again, for whom was muted meanwhile
        before.stop()

    def configure(self, settings: Settings) -> None:
        """Have other thresholds from now on: [voice], [tracker] and `model.threshold`; from any thread.

        Of the emotion held and of what was heard nothing is lost.

        Args:
            settings: all of them; the rest must be as it is.

        Raises:
            UsageError: they contradict each other; all stays as it was.
        """
        with self._roster_lock:
            if self._pipeline is not None:
                self._pipeline.configure(settings)
            self._settings = settings

    @property
    def idle_s(self) -> float | None:
        """Seconds since the worker looked for audio last, a tenth or so while all is well; None until it runs."""
        pipeline = self._pipeline
        return None if pipeline is None else time.monotonic() - pipeline.worker.ticked_at

    def snapshot(self) -> Snapshot:
        """Return the newest state of everything; changes nothing."""
        return self.board.snapshot()

    def captured(self, stream: str, start: int) -> tuple[Samples, int] | None:
        """Return the audio of `stream` from position `start` on that its ring still holds, and the position after it.

        [n] float32 at 24 kHz, some seconds at most; None where there is no such stream.
        """
        source = self._sources.get(stream)
        return None if source is None else source.ring.recent(start)

    def notices(self) -> frozenset[str]:
        """Return what sources, voice profiles and publishers report to the user, for runs without a screen."""
        statuses = {name: source.status() for name, source in self._sources.items()}
        ignored = self._pipeline.store.ignored if self._pipeline is not None else frozenset()
        details = {name: status.detail for name, status in statuses.items() if status.state != "failed"}
        details |= {name: mute.sentence(name) for name in details if (mute := self._muting.get(name))}
        published = {publisher.stats().notice for publisher in self._publishers}
        clock = {self._pipeline.worker.clock_notice} if self._pipeline is not None else set()
        return (
            ignored | (published | clock) - {""} | {f"{name}: {detail}" for name, detail in details.items() if detail}
        )

    def mute(self, stream: str, muted: bool, by: MutedBy = "keyboard") -> None:
        """Stop the capture of `stream`, releasing the device, or restart it.

        That it is muted is kept on disk, and holds for later monitors too, until it is lifted.

        Raises:
            UsageError: there is no such stream.
            StreamerError: it is done, but cannot be kept on disk; or it cannot be lifted there, and stays muted.
        """
        source = self._source(stream)
        try:
            if muted:
                self._muting.mute(source, by)
            else:
                self._muting.lift(source)
        finally:
            self._show_mute(stream)

    def mute_remotely(self, stream: str, muted: bool) -> None:
        """Do what somebody asked for over MQTT: mute, and unmute only with `mqtt.remote_unmute`.

        A mute that somebody else can undo would be none.
        """
        try:
            if muted or self._settings.mqtt.remote_unmute:
                self.mute(stream, muted, "mqtt")
            elif self._muting.get(stream):
                self.board.log("note", "was to be unmuted over MQTT, which mqtt.remote_unmute does not allow", stream)
        except StreamerError as error:
            self.board.log("note", str(error))

    def muted(self, stream: str) -> Mute | None:
        """Return by whom `stream` is muted, and since when; None where it is not."""
        return self._muting.get(stream)

    def _mute_alike(self, source: Source) -> None:
        """Mute a source that takes the place of one that is muted."""
        if self._muting.get(source.name):
            source.mute(True)

    def _show_mute(self, stream: str) -> None:
        mute = self._muting.get(stream)
        self.board.muted(stream, mute.sentence(stream) if mute else "")

    def devices(self) -> tuple[str, ...]:
        """Return the names of the input devices; empty where PortAudio or a device is missing."""
        from streamer.sources.devices import list_devices

        try:
            return tuple(dict.fromkeys(device.title for device in list_devices()))
        except StreamerError as error:
            self.board.log("note", str(error))
            return ()

    def choose_device(self, stream: str, device: str) -> None:
        """Move `stream` to the device of that name."""
        source = self._source(stream)
        if isinstance(source, Microphone):
            source.choose(device)
            self.board.log("device", f"moving to {device}", stream)
        else:
            self.board.log("note", f"it is no microphone; monitor {device} with: streamer run 'mic:{device}'", stream)

    def calibrate(self, stream: str, wanted_s: float = USUAL_S) -> None:
        """Enrol the speaker on `stream` from `wanted_s` seconds of speech while it goes on; then apply the profile.

        Raises:
            UsageError: there is no such stream.
        """
        self._enrol(stream, wanted_s)

    def cancel_calibration(self, stream: str) -> None:
        """Cancel the enrolment on `stream`; nothing of it is kept.

        Raises:
            UsageError: there is no such stream.
        """
        self._enrol(stream, None)

    def _enrol(self, stream: str, wanted_s: float | None) -> None:
        self._source(stream)
        with self._roster_lock:
            if self._pipeline is not None:
                self._pipeline.profiles.enrol(stream, wanted_s)
            elif wanted_s is not None:
                self._enrol_first[stream] = wanted_s
            else:
                self._enrol_first.pop(stream, None)

    def _source(self, stream: str) -> Source:
        if stream not in self._sources:
            raise UsageError(f"There is no stream named {stream!r}; there are: {', '.join(self._sources)}.")
        return self._sources[stream]

    def _run(self) -> None:
        """Load, warm up, start the sources, and wait for the worker's end."""
        try:
            with weights_apart():
                pipeline = self._load()
                if not self._stopping.is_set():
                    pipeline.warm_up()
            if not self._stopping.is_set():
                pipeline.worker.run()
            broken = [s.status() for s in self._sources.values() if s.status().state == "failed"]
            if broken:  # raised at the end: until then the screen shows the other streams
                self.failure = StreamerError(broken[0].detail)
        except Exception as error:
            self.failure = error
            self.failed.set()
        finally:
            self.ended.set()
            if self._queue is not None:
                self._queue.close()

    def _load(self) -> "Pipeline":
        """Return the pipeline for the sources there are by then, which are started."""
        load_torch_libraries()
        with uncollected():
            from streamer.pipeline.build import build_pipeline

        first, settings = dict(self._sources), self._settings
        pipeline = build_pipeline(
            settings,
            list(first.values()),
            self.board,
            self._publishers,
            self._wake,
            self._on_enrolled,
            self._meters,
        )
        pipeline.worker.lasting = self._lasting
        with self._roster_lock:
            now = self._sources
            for name, source in first.items():
                if now.get(name) is not source:  # it was removed while the model was loaded
                    pipeline.worker.remove(name)
            for name, source in now.items():
                if first.get(name) is not source:
                    pipeline.add(source)
                if not self._stopping.is_set():
                    source.start()
            for name, wanted_s in self._enrol_first.items():
                pipeline.profiles.enrol(name, wanted_s)
            if self._settings is not settings:  # they were changed while the model was loaded
                try:
                    pipeline.configure(self._settings)
                except UsageError as error:
                    self.board.log("note", f"The thresholds stay as they are: {error}")
            self._pipeline = pipeline
        return pipeline

    def _look_around(self) -> None:
        """Keep the board's view of the publisher that has a broker, follow the mutes on disk, return freed memory."""
        said: set[str] = set()
        trim_at = time.monotonic() + TRIM_S
        while True:
            if time.monotonic() >= trim_at:
                return_freed_memory()
                trim_at = time.monotonic() + TRIM_S
            for stream in self._muting.follow(self._sources):
                self._show_mute(stream)
            for stats in [publisher.stats() for publisher in self._publishers]:
                if stats.notice and stats.notice not in said:
                    said.add(stats.notice)
                    self.board.log("note", stats.notice)
                if "://" in stats.url:
                    status: BrokerStatus = "online" if stats.online else "offline" if stats.detail else "connecting"
                    view = BrokerView(
                        stats.url, status, stats.detail, stats.sent, stats.queued, stats.shed, refused=stats.refused
                    )
                    self.board.broker(view)
            if self._stopping.wait(LOOK_S):
                return
