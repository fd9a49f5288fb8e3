"""Writing native audio to a ring, with capture times."""

import numpy as np
import pytest

from streamer.audio.resample import to_mono
from streamer.audio.ring import RingBuffer
from streamer.audio.ring_writer import RingWriter
from streamer.constants import SAMPLE_RATE


def noise(frames: int, channels: int = 1) -> np.ndarray:
    return (np.random.default_rng(3).standard_normal((frames, channels)) * 0.1).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_the_resamplers_delay_does_not_shift_the_time(rate_hz: int) -> None:
    ring = RingBuffer(100_000)
    writer = RingWriter(ring, rate_hz)
    block = rate_hz // 50
    for index in range(50):
        writer.write(to_mono(noise(block)), 1000.0 + (index + 1) / 50)
    assert ring.stats().written < SAMPLE_RATE  # some is held back
    for position in (1_000, 12_345, ring.stats().written):
        assert ring.time_of(position) == pytest.approx(1000.0 + position / SAMPLE_RATE, abs=1e-4)
    writer.flush()
    assert ring.stats().written == SAMPLE_RATE
