"""Resample native mono audio to 24 kHz and write it to the ring with capture times."""

import threading

from streamer.arrays import Samples
from streamer.audio.resample import Resampler
from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE


class RingWriter:
    """Writes one unbroken run of a device, a file or a pipe to a ring.

    The time of a position comes from the native frames passed in, not from the samples that have left the resampler,
    so the resampler's delay does not shift it.
    """

    def __init__(self, ring: RingBuffer, rate_hz: float) -> None:
        self._ring = ring
        self._rate_hz = rate_hz
        self._resampler = Resampler(rate_hz)
        self._base = ring.stats().written  # the ring's position at which this run starts
        self._frames = 0

    @property
    def non_finite(self) -> int:
        """Number of samples that were NaN or infinite and became 0."""
        return self._resampler.non_finite

    def write(self, mono: Samples, epoch_s: float) -> None:
        """Write `mono` ([n] float32), whose last frame was captured at `epoch_s`; overwrite where there is no room."""
        self._frames += len(mono)
        self._ring.write(self._resampler.process(mono), captured=(self._position(), epoch_s))

    def write_waiting(self, mono: Samples, stop: threading.Event) -> bool:
        """Write `mono`, waiting for room in the ring; return False where `stop` was set meanwhile."""
        self._frames += len(mono)
        return self._ring.write_waiting(self._resampler.process(mono), stop)

    def flush(self) -> None:
        """Write what the resampler held back, and end the run."""
        self._ring.write(self._resampler.flush())

    def flush_waiting(self, stop: threading.Event) -> bool:
        """Do as `flush`, waiting for room in the ring; return False where `stop` was set meanwhile."""
        return self._ring.write_waiting(self._resampler.flush(), stop)

    def _position(self) -> float:
        return self._base + self._frames * SAMPLE_RATE / self._rate_hz
