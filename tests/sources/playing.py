"""Play a file or a pipe to its end."""

import time
from collections.abc import Callable

import numpy as np

from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.sources.playback import BlockReader, Pace, Playback

FAST: Pace = "unpaced"


def noise(frames: int, channels: int = 1) -> np.ndarray:
    return (np.random.default_rng(2).standard_normal((frames, channels)) * 0.1).astype(np.float32)


def wait_for(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_to_end(ring: RingBuffer) -> np.ndarray:
    parts = [np.zeros(0, dtype=np.float32)]
    deadline = time.monotonic() + 60.0
    while not (ring.stats().ended and ring.available() == 0):
        assert time.monotonic() < deadline
        chunk = ring.read(1, ring.capacity)
        if chunk is None:
            ring.on_write.wait(0.05)
            ring.on_write.clear()
        else:
            assert not chunk.broken
            parts.append(chunk.samples)
    return np.concatenate(parts)


def play(
    source: BlockReader, pace: Pace = FAST, channel: int | None = None, room_s: float = 0.5
) -> tuple[np.ndarray, Playback]:
    """Play all of `source` through a ring that is shorter than it."""
    ring = RingBuffer(round(room_s * SAMPLE_RATE))
    playback = Playback("file", source, ring, pace, channel)
    playback.start()
    samples = read_to_end(ring)
    playback.stop()
    return samples, playback
