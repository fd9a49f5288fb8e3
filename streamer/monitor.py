"""The whole program behind the screen: sources, worker, board and publishers, started and stopped together."""

import threading
from collections.abc import Sequence
from dataclasses import asdict

from streamer.audio.meter import LevelMeter
from streamer.audio.microphone import Microphone
from streamer.audio.source import Source
from streamer.board import Board
from streamer.config import Settings
from streamer.errors import StreamerError
from streamer.events import Event
from streamer.publish.publisher import Publisher
from streamer.snapshot import BrokerStatus, BrokerView, Level, Snapshot
from streamer.worker import Worker


class Monitor:
    """What `streamer run` runs, and the dashboard's `Feed`.

    `start` returns at once. A thread of its own loads the model and warms it up, then lets the sources begin: nothing
    is heard before it can be understood.
    """

    controls_capture = True

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        publishers: Sequence[Publisher],
        *,
        mqtt: Publisher | None,
        wake: threading.Event,
        ended: threading.Event,
    ) -> None:
        self._settings = settings
        self._sources = {source.name: source for source in sources}
        self._publishers = publishers
        self._mqtt = mqtt
        self._wake = wake
        self.board = Board(list(self._sources), timeline_s=settings.dashboard.timeline_s)
        self._meters = {name: LevelMeter() for name in self._sources}
        self._metered = dict.fromkeys(self._sources, 0)
        self._worker: Worker | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self.failure: Exception | None = None
        self.ended = ended  # nothing more will come: every source is over, or something failed
        self.failed = threading.Event()

    def start(self) -> None:
        """Begin everything."""
        for name, source in self._sources.items():
            self.board.status(name, "starting", "loading the model …", source.status().device)
        for notice in sorted(self.notices()):
            self.board.log("note", notice)
        for publisher in self._publishers:
            publisher.start()
        self._thread.start()

    def stop(self) -> None:
        """End everything: microphones first, so that nothing is heard once this was asked. Safe to call twice."""
        self._stopping.set()
        for source in self._sources.values():
            source.stop()
        if self._worker is not None:
            self._worker.stop()
        if self._thread.ident is not None:
            # A model that is still being loaded is not waited for: the person wants out.
            self._thread.join(5.0 if self._worker is not None else 0.5)
        for publisher in self._publishers:
            publisher.close()

    def _run(self) -> None:
        """Load, warm up, open the sources, and wait for the worker's end."""
        try:
            worker = self._worker = self._load()
            for source in self._sources.values():
                if not self._stopping.is_set():
                    source.start()
            if not self._stopping.is_set():
                worker.run()
            broken = [s.status() for s in self._sources.values() if s.status().state == "failed"]
            if broken:  # told at the end: the screen goes on showing what could be heard
                self.failure = StreamerError(broken[0].detail)
        except Exception as error:
            self.failure = error
            self.failed.set()
        finally:
            self.ended.set()

    def _load(self) -> Worker:
        from streamer.assembly import build_inference, describe, stream_settings

        inference = build_inference(self._settings, rows=len(self._sources))
        self.board.torch_device(str(inference.device))
        info = describe(self._settings, inference, list(self._sources))
        self.board.event(info)
        self._publish(info)
        return Worker(
            inference,
            list(self._sources.values()),
            stream_settings(self._settings, inference.model),
            board=self.board,
            outlet=self._publish,
            wake=self._wake,
        )

    def _publish(self, event: Event) -> None:
        for publisher in self._publishers:
            publisher.publish(event)

    def snapshot(self) -> Snapshot:
        """The newest state of everything; measures the level of what came in since the last call."""
        for name, source in self._sources.items():
            samples, self._metered[name] = source.ring.recent(self._metered[name])
            self._meters[name].feed(samples)
            captures = source.status().state in ("live", "no signal")
            reading = self._meters[name].reading() if captures else None
            self.board.level(name, None if reading is None else Level(**asdict(reading)))
        self.board.broker(self._broker_view())
        return self.board.snapshot()

    def _broker_view(self) -> BrokerView:
        if self._mqtt is None:
            return BrokerView("off", "off", "", None, None, None)
        stats = self._mqtt.stats()
        status: BrokerStatus = "online" if stats.online else "offline" if stats.detail else "connecting"
        return BrokerView(stats.url, status, stats.detail, stats.sent, stats.queued, stats.shed)

    def notices(self) -> set[str]:
        """What the sources have to say to a person, for runs without a screen."""
        statuses = {name: source.status() for name, source in self._sources.items()}
        return {f"{name}: {s.detail}" for name, s in statuses.items() if s.detail and s.state != "failed"}

    def mute(self, stream: str, muted: bool) -> None:
        """Really stop (or restart) the capture of `stream`."""
        self._sources[stream].mute(muted)

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
        source = self._sources[stream]
        if isinstance(source, Microphone):
            source.choose(device)
            self.board.log("device", f"moving to {device}", stream)
        else:
            self.board.log("note", f"it plays a recording; hear {device} with: streamer run 'mic:{device}'", stream)
