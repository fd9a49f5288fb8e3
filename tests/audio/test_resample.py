"""Resampling block by block is resampling the whole."""

import numpy as np
import pytest
import soxr

from streamer.audio.resample import Resampler, check_channel, to_mono
from streamer.constants import SAMPLE_RATE
from streamer.errors import UsageError


def noise(frames: int, channels: int = 1) -> np.ndarray:
    return (np.random.default_rng(3).standard_normal((frames, channels)) * 0.1).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("largest_block", [1, 160, 2_000], ids=lambda n: f"blocks up to {n}")
@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_blocks_equal_the_whole_bit_for_bit(rate_hz: int, largest_block: int, kind: type) -> None:
    rng = np.random.default_rng(7)
    signal = noise(1_321, 2) if kind is np.float32 else (noise(1_321, 2) * 32_767).astype(np.int16)
    resampler, parts, at = Resampler(rate_hz), [], 0
    while at < len(signal):
        count = int(rng.integers(0, largest_block + 1))
        parts.append(resampler.process(to_mono(signal[at : at + count])))
        at += count
    parts.append(resampler.flush())
    whole = soxr.resample(to_mono(signal), rate_hz, SAMPLE_RATE)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.dtype == np.float32


def test_int16_full_scale_is_one() -> None:
    block = np.array([[-32_768], [0], [16_384]], dtype=np.int16)
    np.testing.assert_array_equal(to_mono(block), np.array([-1.0, 0.0, 0.5], dtype=np.float32))


def test_mono_is_the_mean_or_the_picked_channel() -> None:
    block = np.array([[0.2, 0.4, 0.9]], dtype=np.float32)
    assert to_mono(block)[0] == pytest.approx(0.5)
    assert to_mono(block, 1)[0] == np.float32(0.4)


def test_full_scale_int16_on_all_channels_does_not_wrap() -> None:
    assert to_mono(np.full((1, 8), 32_767, dtype=np.int16))[0] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("channel", [-1, 2, 9])
def test_a_missing_channel_is_refused_in_one_sentence(channel: int) -> None:
    with pytest.raises(UsageError, match=rf"Channel {channel} of Yeti does not exist: it has 2, counted from 0"):
        check_channel(channel, 2, "Yeti")


def test_a_channel_that_is_there_is_no_error() -> None:
    check_channel(1, 2, "Yeti")
    check_channel(None, 1, "Yeti")


def test_numbers_that_are_not_finite_become_silence_and_are_counted() -> None:
    spoiled = to_mono(noise(4_800))
    spoiled[[10, 20, 30]] = [np.nan, np.inf, -np.inf]
    cleaned = np.where(np.isfinite(spoiled), spoiled, np.float32(0))
    resampler = Resampler(48_000)
    out = np.concatenate([resampler.process(spoiled), resampler.flush()])
    np.testing.assert_array_equal(out, soxr.resample(cleaned, 48_000, SAMPLE_RATE))
    assert resampler.non_finite == 3


@pytest.mark.parametrize(
    ("rate_hz", "most_ms"),
    [(8_000, 73), (11_025, 84), (16_000, 36), (22_050, 42), (24_000, 0), (32_000, 39), (44_100, 38), (48_000, 38)],
)
def test_the_delay_depends_on_the_rate_as_documented(rate_hz: int, most_ms: float) -> None:
    resampler, block, held_ms = Resampler(rate_hz), np.zeros(round(0.02 * rate_hz), np.float32), []
    given = taken = 0
    for _ in range(100):
        taken += len(resampler.process(block))
        given += len(block)
        held_ms.append(1000 * (given / rate_hz - taken / SAMPLE_RATE))
    assert max(held_ms[10:]) == pytest.approx(most_ms, abs=1.5)
