"""The streams of a monitor: they come, go and change places at any moment, before the model is loaded and after."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from streamer.errors import StreamerError, UsageError
from streamer.feed.board import Board
from streamer.monitor.mutes import Mutes
from streamer.settings import Settings
from streamer.sources.source import Source

if TYPE_CHECKING:  # it loads torch
    from streamer.pipeline.build import Pipeline


class Roster:
    """Keeps the sources, and tells the pipeline of each change once there is one. For any thread.

    Args:
        board: shows the streams.
        settings: until `configure` replaces them.
        is_over: returns whether nothing more may come or start.

    Attributes:
        sources: by the stream's name. Replaced as a whole, never changed, since other threads read it.
        mutes: of the streams.
        wake: set by every ring when audio came in.
        pipeline: once the model is loaded.
        settings: in force.
    """

    def __init__(self, board: Board, settings: Settings, is_over: Callable[[], bool]) -> None:
        self.sources: Mapping[str, Source] = {}
        self.mutes = Mutes(board)
        self.wake = threading.Event()
        self.pipeline: Pipeline | None = None
        self.settings = settings
        self._board = board
        self._lock = threading.Lock()  # held while streams come, go or are started
        self._enrol_first: dict[str, float] = {}  # to be enrolled as soon as there is a worker: seconds of speech
        self._is_over = is_over

    def find(self, stream: str) -> Source:
        """Return the source of `stream`.

        Raises:
            UsageError: there is no such stream.
        """
        if stream not in self.sources:
            raise UsageError(f"There is no stream named {stream!r}; there are: {', '.join(self.sources)}.")
        return self.sources[stream]

    def add(self, source: Source) -> None:
        """Take in one more source, and start it once there is a worker.

        Raises:
            UsageError: another stream has its name.
            StreamerError: the source cannot ever work, or nothing more may come.
        """
        with self._lock:
            if source.name in self.sources:
                raise UsageError(f"There is a stream named {source.name!r} already; give the new one another name.")
            if self._is_over():
                raise StreamerError(f"The monitor has ended and cannot add {source.name!r}; start a new one.")
            source.ring.on_write = self.wake
            self.mutes.adopt(source)
            if self.pipeline is not None:
                source.start()  # first, since it may refuse
            self._board.status(source.name, "starting", device=source.status().device)
            self.mutes.show(source.name)
            if self.pipeline is not None:
                self.pipeline.add(source)
            self.sources = {**self.sources, source.name: source}

    def remove(self, stream: str) -> None:
        """Stop and forget `stream`.

        Raises:
            UsageError: there is no such stream.
        """
        with self._lock:
            source = self.find(stream)
            self.sources = {name: other for name, other in self.sources.items() if name != stream}
            self.mutes.forget(stream)
            if self.pipeline is None:
                self._board.forget(stream)
            else:
                self.pipeline.worker.remove(stream)
        source.stop()

    def replace(self, source: Source) -> None:
        """Go on with `source` in place of that of its name, which is stopped; a stream that is muted stays so.

        Raises:
            UsageError: there is no such stream.
            StreamerError: the source cannot ever work; the stream goes on as it was.
        """
        with self._lock:
            before = self.find(source.name)
            source.ring.on_write = self.wake
            self.mutes.mute_alike(source)
            if self.pipeline is not None:
                source.start()  # first, since it may refuse
                self.pipeline.replace(source)
            self.sources = {**self.sources, source.name: source}
            self.mutes.mute_alike(source)  # again, for whom was muted meanwhile
        before.stop()

    def configure(self, settings: Settings) -> None:
        """Have other thresholds from now on.

        Raises:
            UsageError: they contradict each other; all stays as it was.
        """
        with self._lock:
            if self.pipeline is not None:
                self.pipeline.configure(settings)
            self.settings = settings

    def enrol(self, stream: str, wanted_s: float | None) -> None:
        """Enrol the speaker on `stream` from `wanted_s` seconds of speech, now or once there is a worker; None: cancel.

        Raises:
            UsageError: there is no such stream.
        """
        self.find(stream)
        with self._lock:
            if self.pipeline is not None:
                self.pipeline.profiles.enrol(stream, wanted_s)
            elif wanted_s is not None:
                self._enrol_first[stream] = wanted_s
            else:
                self._enrol_first.pop(stream, None)

    def hand_over(self, pipeline: "Pipeline", first: Mapping[str, Source], settings: Settings) -> None:
        """Tell a pipeline that was built for `first` and `settings` what has changed meanwhile, and start the sources.

        Raises:
            StreamerError: a source cannot ever work.
        """
        with self._lock:
            for name, source in first.items():
                if self.sources.get(name) is not source:  # it was removed while the model was loaded
                    pipeline.worker.remove(name)
            for name, source in self.sources.items():
                if first.get(name) is not source:
                    pipeline.add(source)
                if not self._is_over():
                    source.start()
            for name, wanted_s in self._enrol_first.items():
                pipeline.profiles.enrol(name, wanted_s)
            if self.settings is not settings:  # they were changed while the model was loaded
                try:
                    pipeline.configure(self.settings)
                except UsageError as error:
                    self._board.log("note", f"The thresholds stay as they are: {error}")
            self.pipeline = pipeline

    def stop(self) -> None:
        """Stop all sources, once it is over."""
        with self._lock:
            sources = list(self.sources.values())
        for source in sources:
            source.stop()

    def notices(self) -> frozenset[str]:
        """Return what sources, voice profiles and the worker report to the user."""
        statuses = {name: source.status() for name, source in self.sources.items()}
        details = {name: status.detail for name, status in statuses.items() if status.state != "failed"}
        details |= {name: sentence for name in details if (sentence := self.mutes.sentence(name))}
        of_streams = frozenset(f"{name}: {detail}" for name, detail in details.items() if detail)
        if self.pipeline is None:
            return of_streams
        return of_streams | self.pipeline.store.ignored | ({self.pipeline.worker.clock_notice} - {""})
