"""The loop that joins the rooms: rings in, events out, one thread for all streams.

The worker never waits for the screen, the broker or the disk: `outlet` must return at once (only a `--fast` reader that
asks to lose nothing may hold it up).
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from streamer.audio.clock import SYSTEM, Clock
from streamer.audio.source import Source
from streamer.board import Board
from streamer.events import Event
from streamer.stream import StreamRuntime, StreamSettings

if TYPE_CHECKING:  # it loads torch, and the screen is there before that is through
    from streamer.inference import Heard, Inference

BEHIND_HOPS = 3  # so many hops waiting mean that the worker is behind: larger steps, windows in between skipped
MOST_HOPS = 8  # the largest step, so that one stream that is far behind does not hold up the others
IDLE_S = 0.1  # how long to wait for audio before statuses are looked at again


class Worker:
    """Hears all streams, one row of the batch each, and hands their events to the board and the outlet."""

    def __init__(
        self,
        inference: "Inference",
        sources: Sequence[Source],
        settings: StreamSettings,
        *,
        board: Board,
        outlet: Callable[[Event], None],
        wake: threading.Event,
        clock: Clock = SYSTEM,
    ) -> None:
        self._inference = inference
        self._board = board
        self._outlet = outlet
        self._wake = wake
        self._clock = clock
        self._stop = threading.Event()
        run_id = secrets.token_hex(2)
        self._streams = [
            StreamRuntime(source, settings, f"{run_id}-{row}" if len(sources) > 1 else run_id)
            for row, source in enumerate(sources)
        ]

    def run(self) -> None:
        """Hear until every source is over or `stop` is called, in the caller's thread; then close what is open."""
        while not self._stop.is_set() and not all(stream.finished for stream in self._streams):
            self._wake.clear()
            if not self.tick():
                self._wake.wait(IDLE_S)
        for stream in self._streams:
            if not stream.finished:
                self._send(stream.close())

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()
        self._wake.set()

    def tick(self) -> bool:
        """Hear what is waiting, once, and look at every stream. True when there was any audio."""
        busy = self._hear()
        self._finish_ended()
        for stream in self._streams:
            self._send(stream.pause())
            monotonic = self._clock.monotonic()
            status, detail, device = stream.look(monotonic)
            self._board.status(stream.name, status, detail, device)
            health = stream.health(self._clock.time(), monotonic)
            if health is not None:
                self._send([health])
        return busy

    def _hear(self) -> bool:
        audio, behind = {}, set()
        for row, stream in enumerate(self._streams):
            if stream.source.live and stream.hops_waiting >= BEHIND_HOPS:
                behind.add(row)
            chunk = stream.read(MOST_HOPS)
            if chunk is None:
                continue
            if chunk.broken:
                self._inference.reset(row)
                self._send(stream.restart(chunk, self._clock.time()))
            audio[row] = chunk.samples
        began = self._clock.monotonic()
        heard: list[Heard] = []
        for every, rows in ((True, audio.keys() - behind), (False, audio.keys() & behind)):
            if rows:
                heard += self._inference.hear({row: audio[row] for row in sorted(rows)}, every=every)
        spent_s = self._clock.monotonic() - began
        for row, samples in audio.items():
            self._streams[row].spent(spent_s, len(samples))
        for item in heard:
            self._emit(self._streams[item.row], item)
        return bool(audio)

    def _finish_ended(self) -> None:
        """A stream whose source ended and whose ring is empty gives its last window and closes its emotion."""
        for row, stream in enumerate(self._streams):
            if stream.exhausted and not stream.finished:
                last = self._inference.finish(row)
                if last is not None:
                    self._emit(stream, last)
                stream.finished = True
                self._send(stream.close())

    def _emit(self, stream: StreamRuntime, heard: "Heard") -> None:
        events, output = stream.hear(heard, self._clock.time())
        self._send(events)
        smoothed = None if output.smoothed is None else tuple(output.smoothed.items())
        self._board.inner(stream.name, heard.attention, smoothed)

    def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            self._board.event(event)
            self._outlet(event)
