"""Mixing channels to mono, and channels that cancel each other."""

import numpy as np
import pytest

from streamer.audio.clock import SYSTEM, WallClock
from streamer.audio.downmix import EVIDENCE_FRAMES, Downmix
from streamer.audio.resample import to_mono
from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.sources.connection import Received
from streamer.sources.network_writer import NetworkWriter
from tests.sources.playing import noise

BLOCK = 480


def opposite(frames: int, gain: float = 1.0, seed: int = 0) -> np.ndarray:
    """[frames, 2]: one sound in opposite phase, at -26 dBFS, the second channel `gain` times as loud."""
    left = (0.05 * np.random.default_rng(seed).standard_normal(frames)).astype(np.float32)
    return np.stack([left, np.float32(-gain) * left], axis=1)


def run(downmix: Downmix, audio: np.ndarray) -> np.ndarray:
    return np.concatenate([downmix.process(audio[i : i + BLOCK]) for i in range(0, len(audio), BLOCK)])


@pytest.mark.parametrize(("gain", "taken"), [(1.0, 0), (0.9, 0), (1.1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_channels_in_opposite_phase_are_noticed_and_the_loudest_is_taken(gain, taken, dtype):
    audio = opposite(2 * EVIDENCE_FRAMES, gain)
    block = audio if dtype == np.float32 else np.round(audio * 32_768).astype(np.int16)
    downmix = Downmix()
    out = run(downmix, block)
    assert f"only channel {taken} is used" in downmix.notice
    np.testing.assert_array_equal(out[EVIDENCE_FRAMES:], to_mono(block, taken)[EVIDENCE_FRAMES:])


def test_one_long_block_is_taken_whole():
    audio = opposite(2 * EVIDENCE_FRAMES)
    np.testing.assert_array_equal(Downmix().process(audio), audio[:, 0])


def test_channels_that_do_not_cancel_are_mixed_without_a_word():
    left, right = noise(SAMPLE_RATE, 2).T
    same, one, apart = (np.stack(pair, axis=1) for pair in ((left, left), (left, 0 * left), (left, right)))
    for audio in (same, one, apart):
        downmix = Downmix()
        np.testing.assert_array_equal(run(downmix, audio), to_mono(audio))
        assert downmix.notice == ""


def test_faint_noise_in_opposite_phase_says_nothing():
    downmix = Downmix()
    run(downmix, 0.005 * opposite(SAMPLE_RATE))  # -72 dBFS
    assert downmix.notice == ""


def test_opposite_phase_that_begins_late_is_noticed_too():
    left = noise(4 * SAMPLE_RATE)[:, 0]
    downmix = Downmix()
    run(downmix, np.concatenate([np.stack([left, left], axis=1), opposite(10 * SAMPLE_RATE)]))
    assert "only channel" in downmix.notice


def test_a_channel_that_was_asked_for_is_taken_without_a_word():
    audio = opposite(2 * EVIDENCE_FRAMES)
    downmix = Downmix(1)
    np.testing.assert_array_equal(run(downmix, audio), audio[:, 1])
    assert downmix.notice == ""


def test_one_sample_that_is_no_number_hides_nothing():
    audio = opposite(3 * EVIDENCE_FRAMES)
    audio[5, 0] = np.nan
    downmix = Downmix()
    run(downmix, audio)
    assert "only channel" in downmix.notice


def test_a_network_source_takes_one_channel_and_says_so():
    ring = RingBuffer(4 * SAMPLE_RATE)
    writer = NetworkWriter(ring, None, "radio", WallClock(SYSTEM))
    for i in range(10):
        received = Received(opposite(2_400, seed=i), float(SAMPLE_RATE))
        writer.write_live(received, float(i) / 10)
    assert "only channel 0 is used" in writer.notice
    assert np.abs(ring.recent(0)[0][-2_400:]).max() > 0.01
