"""A running emotion monitor: sources, worker, board and publishers, started and stopped together."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from streamer.arrays import Samples
from streamer.emotion.enrolment import USUAL_S
from streamer.errors import StreamerError
from streamer.events import Event
from streamer.feed.board import Board
from streamer.feed.snapshot import Snapshot
from streamer.monitor.lookout import look_around
from streamer.monitor.roster import Roster
from streamer.pipeline.broker_view import BrokerWatch
from streamer.pipeline.memory import uncollected, weights_apart
from streamer.pipeline.profiles import EnrolmentResult
from streamer.publish.event_queue import EventQueue
from streamer.publish.publisher import Publisher
from streamer.settings import Settings
from streamer.sources.microphone import Microphone
from streamer.sources.muting import Mute, MutedBy
from streamer.sources.open import SourceOptions, SourceSpec, open_source, parse_source
from streamer.sources.source import Source
from streamer.torch_libraries import load_torch_libraries

if TYPE_CHECKING:  # it loads torch
    from streamer.pipeline.build import Pipeline


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
        settings = settings or Settings()
        self._lasting = lasting
        self._on_enrolled = on_enrolled
        self._meters = meters
        self._publishers: list[Publisher] = []
        self._queue: EventQueue | None = None
        self._resources = ExitStack()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self.board = Board(timeline_s=settings.dashboard.timeline_s)
        self.failure: Exception | None = None
        self.ended = threading.Event()
        self.failed = threading.Event()
        self._roster = Roster(self.board, settings, lambda: self._stopping.is_set() or self.ended.is_set())

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
        audio = self._roster.settings.audio
        channel = audio.channel if isinstance(audio.channel, int) else None
        return SourceOptions(
            ring_s=audio.ring_s, channel=channel, block_ms=audio.block_ms, password_file=audio.source_password_file
        )

    def publish_to(self, publisher: Publisher) -> None:
        """Hand all events to `publisher`, which the monitor starts and closes. Call before `start`."""
        self._publishers.append(publisher)

    def start(self) -> None:
        """Start everything."""
        for name, source in self._roster.sources.items():
            self.board.status(name, "starting", "loading the model …", source.status().device)
        for notice in sorted(self.notices()):
            self.board.log("note", notice)
        for publisher in self._publishers:
            publisher.start()
        self._thread.start()
        look_out = (self._roster, BrokerWatch(self.board, self._publishers), self._stopping)
        threading.Thread(target=look_around, args=look_out, name="look-out", daemon=True).start()

    def stop(self) -> None:
        """Stop everything: microphones first, so that nothing is captured from this call on. Safe to call twice."""
        self._stopping.set()
        self._roster.stop()
        pipeline = self._roster.pipeline
        if pipeline is not None:
            pipeline.worker.stop()
        if self._thread.ident is not None:
            # A model that is still being loaded is not waited for: the user wants out.
            self._thread.join(5.0 if pipeline is not None else 0.5)
        if pipeline is not None:
            pipeline.store.close()
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
        self._roster.add(source)
        return source.name

    def remove(self, stream: str) -> None:
        """End and forget `stream` while the others go on; from any thread.

        With its last stream the monitor has ended, unless it is `lasting`; so add the next one first.

        Raises:
            UsageError: there is no such stream.
        """
        self._roster.remove(stream)

    def replace(self, source: Source) -> None:
        """End the stream of the source's name and go on with `source` under it; from any thread.

        A stream that is muted stays so.

        Args:
            source: opened, not started.

        Raises:
            UsageError: there is no such stream.
            StreamerError: the source cannot ever work; the stream goes on as it was.
        """
        self._roster.replace(source)

    def configure(self, settings: Settings) -> None:
        """Have other thresholds from now on: [voice], [tracker] and `model.threshold`; from any thread.

        Of the emotion held and of what was heard nothing is lost.

        Args:
            settings: all of them; the rest must be as it is.

        Raises:
            UsageError: they contradict each other; all stays as it was.
        """
        self._roster.configure(settings)

    @property
    def idle_s(self) -> float | None:
        """Seconds since the worker looked for audio last, a tenth or so while all is well; None until it runs."""
        pipeline = self._roster.pipeline
        return None if pipeline is None else time.monotonic() - pipeline.worker.ticked_at

    def snapshot(self) -> Snapshot:
        """Return the newest state of everything; changes nothing."""
        return self.board.snapshot()

    def captured(self, stream: str, start: int) -> tuple[Samples, int] | None:
        """Return the audio of `stream` from position `start` on that its ring still holds, and the position after it.

        [n] float32 at 24 kHz, some seconds at most; None where there is no such stream.
        """
        source = self._roster.sources.get(stream)
        return None if source is None else source.ring.recent(start)

    def notices(self) -> frozenset[str]:
        """Return what sources, voice profiles and publishers report to the user, for runs without a screen."""
        return self._roster.notices() | ({publisher.stats().notice for publisher in self._publishers} - {""})

    def mute(self, stream: str, muted: bool, by: MutedBy = "keyboard") -> None:
        """Stop the capture of `stream`, releasing the device, or restart it.

        That it is muted is kept on disk, and holds for later monitors too, until it is lifted.

        Raises:
            UsageError: there is no such stream.
            StreamerError: it is done, but cannot be kept on disk; or it cannot be lifted there, and stays muted.
        """
        self._roster.mutes.mute(self._roster.find(stream), muted, by)

    def mute_remotely(self, stream: str, muted: bool) -> None:
        """Do what somebody asked for over MQTT: mute, and unmute only with `mqtt.remote_unmute`.

        A mute that somebody else can undo would be none.
        """
        try:
            if muted or self._roster.settings.mqtt.remote_unmute:
                self.mute(stream, muted, "mqtt")
            elif self.muted(stream):
                self.board.log("note", "was to be unmuted over MQTT, which mqtt.remote_unmute does not allow", stream)
        except StreamerError as error:
            self.board.log("note", str(error))

    def muted(self, stream: str) -> Mute | None:
        """Return by whom `stream` is muted, and since when; None where it is not."""
        return self._roster.mutes.get(stream)

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
        source = self._roster.find(stream)
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
        self._roster.enrol(stream, wanted_s)

    def cancel_calibration(self, stream: str) -> None:
        """Cancel the enrolment on `stream`; nothing of it is kept.

        Raises:
            UsageError: there is no such stream.
        """
        self._roster.enrol(stream, None)

    def _run(self) -> None:
        """Load, warm up, start the sources, and wait for the worker's end."""
        try:
            with weights_apart():
                pipeline = self._load()
                if not self._stopping.is_set():
                    pipeline.warm_up()
            if not self._stopping.is_set():
                pipeline.worker.run()
            broken = [s.status() for s in self._roster.sources.values() if s.status().state == "failed"]
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

        first, settings = self._roster.sources, self._roster.settings
        pipeline = build_pipeline(
            settings,
            list(first.values()),
            self.board,
            self._publishers,
            self._roster.wake,
            self._on_enrolled,
            self._meters,
        )
        pipeline.worker.lasting = self._lasting
        self._roster.hand_over(pipeline, first, settings)
        return pipeline
