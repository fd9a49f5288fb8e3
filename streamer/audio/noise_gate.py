"""Whether a stream's sound differs from its own background: what wakes the voice detector in a silent room.

Frames of 32 ms are compared, band by band, with the mean and the deviation of the level that the background had, in dB.
Speech that a detector could find raises several bands at once, so that it stands out even where the whole is hardly
louder; a steady noise never does, at whatever level, and neither does silence. A background that becomes quieter stands
out as well, so that what is below its former level is not missed.
"""

from itertools import pairwise

import numpy as np

from streamer.arrays import Float64Array, Samples
from streamer.audio.vad_input import windows
from streamer.constants import SAMPLE_RATE

FRAME = 768  # samples = 32 ms
LEARNED_FRAMES = 62  # 2 s: fewer are too few to know the background
_MEMORY_FRAMES = 250  # 8 s: time constant of the background
_EDGES_HZ = (100, 250, 400, 600, 850, 1_200, 1_700, 2_400, 3_400, 5_000, 8_000)
_BANDS = len(_EDGES_HZ) - 1
_FAINTEST = 1e-12  # -120 dBFS: below it silence is silence
_LEAST_DEVIATION_DB = 0.7
_ONE_BAND = 4.5  # deviations above the mean by which one band stands out
_ALL_BANDS = 4.0  # the same for the sum of all, in deviations of that sum
_BINS_HZ = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)


class NoiseGate:
    """The background of one stream."""

    def __init__(self) -> None:
        self._waiting: Samples = np.zeros(0, dtype=np.float32)
        self._mean: Float64Array = np.zeros(_BANDS)  # dB
        self._variance: Float64Array = np.zeros(_BANDS)  # dB^2
        self._newest: Float64Array = np.zeros((0, _BANDS))  # levels of the newest step
        self._frames = 0  # learned

    @property
    def learned(self) -> bool:
        """Whether the background is known well enough to tell what differs from it."""
        return self._frames >= LEARNED_FRAMES

    def step(self, samples: Samples) -> bool:
        """Return whether any frame that `samples` ([n] float32 at 24 kHz) complete stands out."""
        waiting = np.concatenate([self._waiting, samples])
        frames = windows(waiting, 0, FRAME, FRAME)
        self._waiting = waiting[len(frames) * FRAME :].copy()
        self._newest = _band_levels_db(frames)  # [M, 10]
        return self._stands_out(self._newest)

    def learn(self) -> None:
        """Take the frames of the newest step for background."""
        for level in self._newest:
            self._frames = min(self._frames + 1, _MEMORY_FRAMES)
            difference = level - self._mean
            self._mean = self._mean + difference / self._frames
            self._variance = self._variance + (difference * (level - self._mean) - self._variance) / self._frames

    def relearn(self) -> None:
        """Learn faster from now on, as in the first seconds: the background may be another one."""
        self._frames = min(self._frames, LEARNED_FRAMES)

    def _stands_out(self, levels: Float64Array) -> bool:
        if not self.learned:
            return True
        z = (levels - self._mean) / np.maximum(np.sqrt(self._variance), _LEAST_DEVIATION_DB)
        sums = z.sum(axis=1) / np.sqrt(_BANDS)
        return bool((z > _ONE_BAND).any() or (np.abs(sums) > _ALL_BANDS).any())


def _band_levels_db(frames: Samples) -> Float64Array:
    """Return the power of every band of `frames` [M, 768] in dB, [M, 10]."""
    spectrum = np.fft.rfft(frames * _WINDOW, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(10 * np.log10(power @ _BAND_WEIGHTS + _FAINTEST), dtype=np.float64)


_WINDOW = np.hanning(FRAME).astype(np.float32)
_BAND_WEIGHTS = np.stack(
    [((low <= _BINS_HZ) & (high > _BINS_HZ)) / (FRAME**2 / 8) for low, high in pairwise(_EDGES_HZ)],
    axis=1,
)  # [385, 10]
