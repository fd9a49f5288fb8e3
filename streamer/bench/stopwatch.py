"""Record when one stream's audio passes each stage of the monitor, from outside its parts.

The parts carry no stopwatch of their own. A ring records its writes and reads, a PortAudio records its callbacks, and
the inference reports when the encoder begins and ends; all times are of the monotonic clock, which the processes of a
machine share. Records are plain values appended to lists, so that they cost the measured threads next to nothing.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamer.arrays import Samples
from streamer.audio.ring import Chunk, RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.events import Event, Window
from streamer.pipeline.inference import Inference, Stage
from streamer.sources.portaudio import InputStream, PortAudio

CLICK_LEVEL = 0.25  # a click is played at 0.8; the virtual microphone holds nothing else
CLICK_APART = SAMPLE_RATE // 5  # samples within which a click still rings


@dataclass(frozen=True, slots=True)
class Write:
    """One callback's audio, written into the ring."""

    called_s: float  # when the callback was called
    written_s: float  # when its samples were in the ring
    captured_position: float  # captured samples of the stream after this callback, at 24 kHz
    written_position: int  # samples of the stream in the ring: the resampler holds some back


@dataclass(frozen=True, slots=True)
class Emitted:
    """One window, and the times of the step that produced it."""

    seq: int
    position: int  # of its end
    captured_s: float  # of its last sample, by the capture clock
    read_s: float
    encode_s: float  # the encoder begins; level and voice activity come before it
    encoded_s: float
    sent_s: float  # handed to the publisher


class StopwatchPortAudio(PortAudio):
    """Records when each callback was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_s: list[float] = []
        self.stated_latency_s: float | None = None

    def open(
        self, index: int, *, rate_hz: float, channels: int, blocksize: int, callback: Any, source: str = ""
    ) -> InputStream:
        """Open the device as PortAudio does; record the callbacks and the latency that it states."""

        def record(*arguments: Any) -> None:
            self.calls_s.append(time.monotonic())
            callback(*arguments)

        stream = super().open(
            index, rate_hz=rate_hz, channels=channels, blocksize=blocksize, callback=record, source=source
        )
        self.stated_latency_s = getattr(stream, "latency", None)
        return stream


class StopwatchRing(RingBuffer):
    """Records its live writes with the callbacks they came from, its reads, and the clicks in the audio."""

    def __init__(self, capacity: int, on_write: threading.Event, calls_s: list[float]) -> None:
        super().__init__(capacity, on_write)
        self.writes: list[Write] = []
        self.clicks: list[int] = []  # positions at which one begins
        self.read_s = 0.0
        self.broken = False  # by a gap: writes and callbacks no longer pair
        self._calls_s = calls_s
        self._position = 0

    def write(self, samples: Samples, captured: tuple[float, float] | None = None) -> None:
        """Write as the ring does, and record the write and any click in it."""
        super().write(samples, captured)
        written_s = time.monotonic()
        if captured is not None:
            called_s = self._calls_s[len(self.writes)]  # the k-th live write is the k-th callback's
            self.writes.append(Write(called_s, written_s, captured[0], self._position + len(samples)))
        loud = np.flatnonzero(np.abs(samples) > CLICK_LEVEL)
        if len(loud) and (not self.clicks or self._position + loud[0] - self.clicks[-1] > CLICK_APART):
            self.clicks.append(self._position + int(loud[0]))
        self._position += len(samples)

    def mark_gap(self, *, muted: bool = False) -> None:
        """Mark a gap as the ring does, and note that writes and callbacks no longer pair."""
        self.broken = self.broken or self._position > 0
        super().mark_gap(muted=muted)

    def read(self, least: int, most: int, multiple: int = 1) -> Chunk | None:
        """Read as the ring does, and record the time."""
        chunk = super().read(least, most, multiple)
        if chunk is not None:
            self.read_s = time.monotonic()
        return chunk


@dataclass
class StopwatchStep:
    """Records the stages of each inference step; passes the worker's events on to `publish`."""

    ring: StopwatchRing
    publish: Callable[[Event], None]
    emitted: list[Emitted] = field(default_factory=list)
    _encode_s: float = 0.0
    _encoded_s: float = 0.0

    def watch(self, inference: Inference) -> None:
        """Record when the encoder of `inference` begins and ends."""

        def record(stage: Stage) -> None:
            if stage == "encode begins":
                self._encode_s = time.monotonic()
            else:
                self._encoded_s = time.monotonic()

        inference.on_stage = record

    def send(self, event: Event) -> None:
        """Record the times of a window, and pass every event on to `publish`."""
        if isinstance(event, Window):
            now_s = time.monotonic()
            captured_s = event.time - (time.time() - now_s)
            position = round(event.end_s * SAMPLE_RATE)
            self.emitted.append(
                Emitted(event.seq, position, captured_s, self.ring.read_s, self._encode_s, self._encoded_s, now_s)
            )
        self.publish(event)
