"""The last step of every source: native mono audio in, 24 kHz in the ring, with the moment of capture."""

import threading

import numpy as np

from streamer.arrays import Samples
from streamer.audio.resample import Resampler
from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE


class RingWriter:
    """One unbroken run of a device, a file or a pipe on its way into a ring.

    The time of a position comes from the native frames handed in, not from the samples that have left the resampler:
    so its delay shifts nothing.
    """

    def __init__(self, ring: RingBuffer, rate_hz: float) -> None:
        self._ring = ring
        self._rate_hz = rate_hz
        self._resampler = Resampler(rate_hz)
        self._base = ring.stats().written  # the ring's position at which this run starts
        self._frames = 0

    @property
    def non_finite(self) -> int:
        """Samples that were NaN or infinite and became 0."""
        return self._resampler.non_finite

    def write(self, mono: Samples, epoch_s: float) -> None:
        """Pass on `mono` ([n] float32), whose last frame was heard at `epoch_s`; overwrite where there is no room."""
        self._frames += len(mono)
        self._ring.write(self._resampler.process(mono), captured=(self._position(), epoch_s))

    def write_waiting(self, mono: Samples, stop: threading.Event) -> bool:
        """Pass on `mono`, waiting for room in the ring; False where `stop` was set meanwhile."""
        self._frames += len(mono)
        return self._ring.write_waiting(self._resampler.process(mono), stop)

    def set_time(self, epoch_s: float) -> None:
        """Say that what is written next begins at `epoch_s`, and is timed by its position from there."""
        self._ring.write(np.zeros(0, dtype=np.float32), captured=(self._position(), epoch_s))

    def finish(self) -> None:
        """Pass on what the resampler held back; the run is over."""
        self._ring.write(self._resampler.flush())

    def finish_waiting(self, stop: threading.Event) -> bool:
        """As `finish`, waiting for room in the ring."""
        return self._ring.write_waiting(self._resampler.flush(), stop)

    def _position(self) -> float:
        return self._base + self._frames * SAMPLE_RATE / self._rate_hz
