"""Counters and measurements of one stream, for its `Health` events."""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

MEMORY_S = 10.0  # time constant of the real-time factor, in seconds of audio


@dataclass(slots=True)
class Counters:
    """Counts since the stream began; the real-time factor forgets exponentially."""

    overwritten: int = 0  # samples that the ring overwrote
    skipped: int = 0  # windows
    compute_s: float = 0.0  # the stream's part of what the steps cost
    rested: int = 0  # samples
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=500))
    _compute_s: float = 0.0
    _audio_s: float = 0.0

    def record_cost(self, compute_s: float, audio_s: float, share: float) -> None:
        """Add what a step cost that took `audio_s` seconds of this stream, and `share` of its audio from it."""
        self.compute_s += share * compute_s
        keep = math.exp(-audio_s / MEMORY_S)
        self._compute_s = self._compute_s * keep + compute_s
        self._audio_s = self._audio_s * keep + audio_s

    @property
    def real_time_factor(self) -> float | None:
        """Compute time / audio time; None before any audio."""
        return self._compute_s / self._audio_s if self._audio_s else None

    def latency_percentiles_ms(self) -> tuple[float | None, float | None]:
        """Return the median and the 95th percentile of the newest latencies; None where there are none."""
        if not self.latencies_ms:
            return None, None
        p50, p95 = np.percentile(self.latencies_ms, (50, 95))
        return float(p50), float(p95)
