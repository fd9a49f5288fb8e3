"""What a level meter sees of the ring: everything new, and nothing taken from the reader."""

import numpy as np

from streamer.audio.ring import RingBuffer


def ramp(start: int, count: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32)


def test_the_recent_samples_are_those_since_the_position_asked_for() -> None:
    ring = RingBuffer(100)
    ring.write(ramp(0, 60))
    assert ring.recent(40)[0].tolist() == ramp(40, 20).tolist()
    assert len(ring.recent(60)[0]) == 0


def test_what_was_overwritten_is_left_out() -> None:
    ring = RingBuffer(100)
    ring.write(ramp(0, 250))
    samples, position = ring.recent(0)
    assert (samples.tolist(), position) == (ramp(150, 100).tolist(), 250)


def test_looking_takes_nothing_from_the_reader() -> None:
    ring = RingBuffer(100)
    ring.write(ramp(0, 50))
    ring.recent(0)
    chunk = ring.read(50, 50)
    assert chunk is not None
    assert chunk.samples.tolist() == ramp(0, 50).tolist()
