"""The high-pass before the level normaliser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.highpass import BLOCK, HighPass
from streamer.constants import SAMPLE_RATE

CUTOFF_HZ = 60.0


def tone(hz: float, seconds: float = 1.0, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def power_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def by_definition(samples: np.ndarray) -> np.ndarray:
    """Butterworth's difference equation, sample by sample, begun as though the first sample had always been there."""
    warped = np.tan(np.pi * CUTOFF_HZ / SAMPLE_RATE)
    scale = 1 + np.sqrt(2) * warped + warped**2
    a1, a2 = 2 * (warped**2 - 1) / scale, (1 - np.sqrt(2) * warped + warped**2) / scale
    x1 = x2 = float(samples[0])
    y1 = y2 = 0.0
    out = []
    for x in samples.tolist():
        y = (x - 2 * x1 + x2) / scale - a1 * y1 - a2 * y2
        x1, x2, y1, y2 = x, x1, y, y1
        out.append(y)
    return np.array(out)


def test_the_blocks_compute_the_difference_equation():
    samples = noise(5 * BLOCK + 17) + np.float32(0.3)
    np.testing.assert_allclose(HighPass(1, CUTOFF_HZ).step(samples[None])[0], by_definition(samples), atol=1e-6)


@pytest.mark.parametrize(
    ("hz", "gain_db"), [(15, -24.1), (30, -12.3), (60, -3.0), (120, -0.26), (300, 0.0), (3000, 0.0)]
)
def test_it_attenuates_as_a_butterworth_filter_of_the_second_order(hz, gain_db):
    out = HighPass(1, CUTOFF_HZ).step(tone(hz, 2.0)[None])[0]
    settled = slice(SAMPLE_RATE, None)
    assert power_db(out[settled]) - power_db(tone(hz, 2.0)[settled]) == pytest.approx(gain_db, abs=0.1)


@pytest.mark.parametrize("offset", [0.02, -0.5, 1.0])
def test_an_offset_is_taken_off_from_the_first_sample_on(offset):
    out = HighPass(1, CUTOFF_HZ).step(np.full((1, 1000), offset, np.float32))
    assert np.abs(out).max() < 1e-6


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 200), min_size=3, max_size=3), min_size=1, max_size=12),
    st.integers(0, 2**16),
)
def test_however_streams_are_cut_and_masked_each_gets_what_it_gets_alone(steps, seed):
    together, rows = HighPass(3, CUTOFF_HZ), [HighPass(1, CUTOFF_HZ) for _ in range(3)]
    lengths = np.sum(steps, axis=0)
    audio = [noise(n, seed=seed + i) + np.float32(0.2) for i, n in enumerate(lengths)]
    whole = [row.step(samples[None])[0] for row, samples in zip(rows, audio, strict=True)]
    got: list[list[np.ndarray]] = [[], [], []]
    at = [0, 0, 0]
    for step in steps:
        for length in set(step):
            mask = np.array(step) == length
            block = np.zeros((3, length), np.float32)
            for i in np.flatnonzero(mask):
                block[i] = audio[i][at[i] : at[i] + length]
            out = together.step(block, mask)
            for i in np.flatnonzero(mask):
                got[i].append(out[i])
                at[i] += length
            assert not out[~mask].any()
    for parts, expected in zip(got, whole, strict=True):
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


def test_a_reset_stream_begins_anew_and_the_others_go_on():
    both, alone = HighPass(2, CUTOFF_HZ), HighPass(1, CUTOFF_HZ)
    both.step(noise(2, 500))
    alone.step(noise(2, 500)[1:])
    both.reset(np.array([True, False]))
    out = both.step(noise(2, 300, seed=1))
    np.testing.assert_array_equal(out[0], HighPass(1, CUTOFF_HZ).step(noise(2, 300, seed=1)[:1])[0])
    np.testing.assert_array_equal(out[1], alone.step(noise(2, 300, seed=1)[1:])[0])


def test_more_streams_find_room_and_the_first_stays_as_it_is():
    grown, alone = HighPass(1, CUTOFF_HZ), HighPass(1, CUTOFF_HZ)
    grown.step(noise(1, 500))
    alone.step(noise(1, 500))
    grown.grow(3)
    np.testing.assert_array_equal(
        grown.step(np.repeat(noise(1, 300, seed=1), 3, axis=0))[0], alone.step(noise(1, 300, seed=1))[0]
    )
    with pytest.raises(ValueError, match="only grows"):
        grown.grow(2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_does_not_stay_in_the_state(bad):
    samples = noise(1, 2000)
    samples[0, 100] = bad
    out = HighPass(1, CUTOFF_HZ).step(samples)
    assert np.isfinite(out).all()


def test_no_samples_change_nothing():
    highpass = HighPass(1, CUTOFF_HZ)
    assert highpass.step(np.zeros((1, 0), np.float32)).shape == (1, 0)
    assert np.abs(highpass.step(np.full((1, 100), 0.5, np.float32))).max() < 1e-6


@pytest.mark.parametrize("cutoff_hz", [0, -1, 12_000])
def test_an_impossible_cutoff_is_refused(cutoff_hz):
    with pytest.raises(ValueError, match="cutoff"):
        HighPass(1, cutoff_hz)


def test_an_impossible_batch_is_refused():
    with pytest.raises(ValueError, match="at least one stream"):
        HighPass(0, CUTOFF_HZ)
    with pytest.raises(ValueError, match=r"must be \[2, S\]"):
        HighPass(2, CUTOFF_HZ).step(noise(1, 10))
