"""Level meter for display: RMS, peak, peak hold, noise floor, clipping."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE

BLOCK = SAMPLE_RATE // 50  # 480 samples: 20 ms, short enough that a syllable moves the needle
HOLD_BLOCKS = 75  # 1.5 s of peak hold
KEPT_BLOCKS = 500  # 10 s, over whose tenth percentile the noise floor is taken
FULL_SCALE = 0.999  # 16-bit converters clip at 32,767 / 32,768
FLOOR_DBFS = -120.0


def dbfs(amplitude: float) -> float:
    """Convert an amplitude (1.0 is full scale) to dBFS, not below -120."""
    return max(FLOOR_DBFS, 20.0 * float(np.log10(max(amplitude, 1e-12))))


def rms_and_peak_dbfs(samples: Samples) -> tuple[float, float]:
    """Return RMS and peak of `samples` ([n] float32) in dBFS; -120 for both where n = 0."""
    if not len(samples):
        return FLOOR_DBFS, FLOOR_DBFS
    return dbfs(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))), dbfs(float(np.abs(samples).max()))


@dataclass(frozen=True, slots=True)
class Reading:
    """The values of the meter at one moment."""

    rms_dbfs: float
    peak_dbfs: float
    hold_dbfs: float
    noise_dbfs: float
    clipped: int  # blocks of 20 ms with a sample at full scale, since the start


@dataclass(frozen=True, slots=True)
class Summary:
    """The levels of the last 10 s together."""

    rms_dbfs: float
    peak_dbfs: float
    noise_dbfs: float


@dataclass(slots=True)
class LevelMeter:
    """Measures audio in blocks of 20 ms, passed to `feed` in chunks of any size."""

    _pending: Samples = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    _rms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_BLOCKS))
    _peaks: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_BLOCKS))
    _clipped: int = 0

    def feed(self, samples: Samples) -> None:
        """Measure the next samples, [n] float32."""
        samples = np.concatenate([self._pending, samples])
        whole = len(samples) // BLOCK * BLOCK
        self._pending = samples[whole:]
        for block in samples[:whole].reshape(-1, BLOCK):
            rms_dbfs, peak_dbfs = rms_and_peak_dbfs(block)
            self._rms.append(rms_dbfs)
            self._peaks.append(peak_dbfs)
            self._clipped += int(np.abs(block).max() >= FULL_SCALE)

    def reading(self) -> Reading | None:
        """Return the values now; None before the first block."""
        if not self._rms:
            return None
        recent_rms = list(self._rms)[-5:]  # 100 ms: calm enough to read
        return Reading(
            rms_dbfs=sum(recent_rms) / len(recent_rms),
            peak_dbfs=max(list(self._peaks)[-5:]),
            hold_dbfs=max(list(self._peaks)[-HOLD_BLOCKS:]),
            noise_dbfs=self._noise_dbfs(),
            clipped=self._clipped,
        )

    def summary(self) -> Summary | None:
        """Return the levels of the last 10 s, or of less where there is less; None before the first block."""
        if not self._rms:
            return None
        power = np.mean(np.power(10.0, np.asarray(self._rms) / 10.0))
        return Summary(
            rms_dbfs=max(FLOOR_DBFS, 10.0 * float(np.log10(power))),
            peak_dbfs=max(self._peaks),
            noise_dbfs=self._noise_dbfs(),
        )

    def _noise_dbfs(self) -> float:
        return float(np.percentile(self._rms, 10))
