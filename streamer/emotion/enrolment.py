"""Accumulate a speaker's neutral embedding during enrolment, window by window. Pure numpy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamer.constants import EMBEDDING_DIM

USUAL_S = 20.0  # seconds of speech, by default
# The fewest that may be requested: profiles of 14 to 20 s were measured to help, of 4.5 s they did not.
LEAST_S = 10.0
_SILENCE_DBFS = -120.0


@dataclass(frozen=True, slots=True)
class CollectedSpeech:
    """What was collected so far."""

    voice_s: float  # seconds of speech
    wanted_s: float
    windows: int
    level_dbfs: float  # mean power of the speech as it came in
    mean: tuple[float, ...]  # [128] of the windows' attentive means; zeros before the first one
    scale: tuple[float, ...]  # [128] their standard deviation

    @property
    def enough(self) -> bool:
        """Whether as much speech was collected as was wanted."""
        return self.voice_s >= self.wanted_s


@dataclass(slots=True)
class Enrolment:
    """The running sums of one stream's enrolment.

    Windows overlap, so each counts only for the speech in the time by which it lies after the one before.
    """

    wanted_s: float = USUAL_S
    voice_s: float = 0.0
    windows: int = 0
    _power: float = 0.0  # summed over windows, of their newest hops
    _sum: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(EMBEDDING_DIM))  # [128]
    _squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(EMBEDDING_DIM))  # [128]

    def add(self, embedding: Sequence[float], speech: float, hop_s: float, rms_dbfs: float) -> None:
        """Add one more window of speech.

        Args:
            embedding: its attentive mean, `[128]`, before any profile offset.
            speech: share of the window with voice activity.
            hop_s: seconds by which it lies after the window before.
            rms_dbfs: of its newest hop.
        """
        values = np.asarray(embedding, dtype=np.float64)
        self._sum += values
        self._squares += values**2
        self._power += 10 ** (rms_dbfs / 10)
        self.windows += 1
        self.voice_s += speech * hop_s

    def collected(self) -> CollectedSpeech:
        """Return mean, scale and level of what was collected so far."""
        count = max(1, self.windows)
        mean = self._sum / count  # [128]
        scale = np.sqrt(np.maximum(0.0, self._squares / count - mean**2))  # [128]
        power = self._power / count
        return CollectedSpeech(
            voice_s=self.voice_s,
            wanted_s=self.wanted_s,
            windows=self.windows,
            level_dbfs=10 * math.log10(power) if power > 0 else _SILENCE_DBFS,
            mean=tuple(mean.tolist()),
            scale=tuple(scale.tolist()),
        )
