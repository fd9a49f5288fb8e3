"""The whole program behind the screen: sources, worker, board and publishers, started and stopped together."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

from streamer.audio.meter import LevelMeter
from streamer.audio.microphone import Microphone
from streamer.audio.source import Source
from streamer.config import Settings
from streamer.emotion.enrolment import USUAL_S
from streamer.errors import StreamerError, UsageError
from streamer.events import Event
from streamer.feed.board import Board
from streamer.feed.snapshot import BrokerStatus, BrokerView, Level, Snapshot
from streamer.pipeline.profiles import Learnt, ProfileStore
from streamer.pipeline.worker import Worker
from streamer.publish.publisher import Publisher


@dataclass(slots=True)
class _Input:
    """One source, and how loud it is."""

    source: Source
    meter: LevelMeter = field(default_factory=LevelMeter)
    metered: int = 0  # samples of the ring that the meter has seen


class Monitor:
    """What `streamer run` runs, and the dashboard's `Feed` and `CaptureControls`.

    `start` returns at once. A thread of its own loads the model and warms it up, then lets the sources begin: nothing
    is heard before it can be understood. Streams may come and go while it runs, with `add` and `remove`.

    `enrolled` is given every voice that was learnt, or why it was not, in the worker's thread, instead of its being stored.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        publishers: Sequence[Publisher],
        *,
        mqtt: Publisher | None,
        wake: threading.Event,
        ended: threading.Event,
        enrolled: Callable[[Learnt], None] | None = None,
    ) -> None:
        self._settings = settings
        # By the stream's name. Replaced as a whole, never changed, since other threads read it.
        self._inputs = {source.name: _Input(source) for source in sources}
        self._roster_lock = threading.Lock()  # held while streams come, go or are started
        self._publishers = publishers
        self._mqtt = mqtt
        self._wake = wake
        self.board = Board(list(self._inputs), timeline_s=settings.dashboard.timeline_s)
        self._voices = ProfileStore(self.board, enrolled)
        self._worker: Worker | None = None
        self._enrol_first: dict[str, float] = {}  # voices to learn as soon as there is a worker: seconds of speech
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self.failure: Exception | None = None
        self.ended = ended  # nothing more will come: every source is over, or something failed
        self.failed = threading.Event()

    def start(self) -> None:
        """Begin everything."""
        for source in self._sources():
            self.board.status(source.name, "starting", "loading the model …", source.status().device)
        for notice in sorted(self.notices()):
            self.board.log("note", notice)
        for publisher in self._publishers:
            publisher.start()
        self._thread.start()

    def stop(self) -> None:
        """End everything: microphones first, so that nothing is heard once this was asked. Safe to call twice."""
        self._stopping.set()
        with self._roster_lock:
            sources = self._sources()
        for source in sources:
            source.stop()
        if self._worker is not None:
            self._worker.stop()
        if self._thread.ident is not None:
            # A model that is still being loaded is not waited for: the person wants out.
            self._thread.join(5.0 if self._worker is not None else 0.5)
        self._voices.close()
        for publisher in self._publishers:
            publisher.close()

    def add(self, source: Source) -> None:
        """Hear one more stream while the others go on; from any thread.

        Args:
            source: not started; opened with the `wake` that the monitor was given, so that its audio is not waited for.

        Raises:
            UsageError: another stream has its name.
            StreamerError: the source cannot ever work, or the monitor has ended.
        """
        with self._roster_lock:
            if source.name in self._inputs:
                raise UsageError(f"There is a stream named {source.name!r} already; give the new one another name.")
            if self._stopping.is_set() or self.ended.is_set():
                raise StreamerError(f"The monitor has ended and cannot hear {source.name!r}; start a new one.")
            if self._worker is not None:
                source.start()  # first, since it may refuse
                self._worker.add(source, self._voices.mean_of(source.name))
            self._inputs = {**self._inputs, source.name: _Input(source)}
            self.board.status(source.name, "starting", device=source.status().device)

    def remove(self, stream: str) -> None:
        """Stop hearing `stream` while the others go on; from any thread. What it holds ends, then it is forgotten.

        With its last stream the monitor has ended, so add the next one first.

        Raises:
            UsageError: there is no such stream.
        """
        with self._roster_lock:
            source = self._source(stream)
            self._inputs = {name: other for name, other in self._inputs.items() if name != stream}
            if self._worker is None:
                self.board.forget(stream)
            else:
                self._worker.remove(stream)
        source.stop()

    def _run(self) -> None:
        """Load, warm up, open the sources, and wait for the worker's end."""
        try:
            worker = self._load()
            if not self._stopping.is_set():
                worker.run()
            broken = [s.status() for s in self._sources() if s.status().state == "failed"]
            if broken:  # told at the end: the screen goes on showing what could be heard
                self.failure = StreamerError(broken[0].detail)
        except Exception as error:
            self.failure = error
            self.failed.set()
        finally:
            self.ended.set()

    def _load(self) -> Worker:
        """The worker for the sources there are by then, which are started."""
        from streamer.pipeline.build import build_inference, describe, stream_settings

        first = self._sources()
        inference = build_inference(self._settings, rows=len(first))
        self.board.torch_device(str(inference.device))
        each = stream_settings(self._settings, inference.model)
        wanted = self._settings.model.calibration and each.neutral_mean is not None
        self._voices.begin(inference.model.sha256 or "", wanted=wanted)

        def announce(names: tuple[str, ...]) -> None:
            info = replace(describe(self._settings, inference, list(names)), calibrated=worker.calibrated)
            self.board.event(info)
            self._publish(info)

        known = {source.name: self._voices.mean_of(source.name) for source in first}
        worker = Worker(
            inference,
            first,
            each,
            board=self.board,
            outlet=self._publish,
            wake=self._wake,
            roster=announce,
            voices={name: voice for name, voice in known.items() if voice is not None},
            enrolled=self._voices.learnt,
        )
        announce(tuple(source.name for source in first))
        with self._roster_lock:
            now = self._sources()
            for source in first:
                if source not in now:  # it went while the model was loaded
                    worker.remove(source.name)
            for source in now:
                if source not in first:
                    worker.add(source, self._voices.mean_of(source.name))
                if not self._stopping.is_set():
                    source.start()
            for name, wanted_s in self._enrol_first.items():
                worker.enrol(name, wanted_s)
            self._worker = worker
        return worker

    def _source(self, stream: str) -> Source:
        if stream not in self._inputs:
            raise UsageError(f"There is no stream named {stream!r}; there are: {', '.join(self._inputs)}.")
        return self._inputs[stream].source

    def _sources(self) -> list[Source]:
        return [heard.source for heard in self._inputs.values()]

    def _publish(self, event: Event) -> None:
        for publisher in self._publishers:
            publisher.publish(event)

    def snapshot(self) -> Snapshot:
        """The newest state of everything; measures the level of what came in since the last call."""
        for name, heard in self._inputs.items():
            samples, heard.metered = heard.source.ring.recent(heard.metered)
            heard.meter.feed(samples)
            captures = heard.source.status().state in ("live", "no signal")
            reading = heard.meter.reading() if captures else None
            self.board.level(name, None if reading is None else Level(**asdict(reading)))
        self.board.broker(self._broker_view())
        return self.board.snapshot()

    def _broker_view(self) -> BrokerView:
        if self._mqtt is None:
            return BrokerView("off", "off", "", None, None, None)
        stats = self._mqtt.stats()
        status: BrokerStatus = "online" if stats.online else "offline" if stats.detail else "connecting"
        return BrokerView(stats.url, status, stats.detail, stats.sent, stats.queued, stats.shed)

    def notices(self) -> frozenset[str]:
        """What the sources and voice profiles have to say to a person, for runs without a screen."""
        statuses = {source.name: source.status() for source in self._sources()}
        return self._voices.ignored | {
            f"{name}: {s.detail}" for name, s in statuses.items() if s.detail and s.state != "failed"
        }

    def mute(self, stream: str, muted: bool) -> None:
        """Really stop (or restart) the capture of `stream`."""
        self._source(stream).mute(muted)

    def devices(self) -> tuple[str, ...]:
        """Names of the input devices; empty where PortAudio or a device is missing."""
        from streamer.audio.devices import list_devices

        try:
            return tuple(dict.fromkeys(device.name for device in list_devices()))
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
            self.board.log("note", f"it plays a recording; hear {device} with: streamer run 'mic:{device}'", stream)

    def calibrate(self, stream: str, wanted_s: float = USUAL_S) -> None:
        """Learn the voice on `stream` from so many seconds of speech while it goes on being heard, then use its profile.

        Raises:
            UsageError: there is no such stream.
        """
        self._enrol(stream, wanted_s)

    def cancel_calibration(self, stream: str) -> None:
        """Learn no voice on `stream`; nothing of it is kept.

        Raises:
            UsageError: there is no such stream.
        """
        self._enrol(stream, None)

    def _enrol(self, stream: str, wanted_s: float | None) -> None:
        self._source(stream)
        with self._roster_lock:
            if self._worker is not None:
                self._worker.enrol(stream, wanted_s)
            elif wanted_s is not None:
                self._enrol_first[stream] = wanted_s
            else:
                self._enrol_first.pop(stream, None)
