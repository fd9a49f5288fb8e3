"""Samples that no recording should hold are repaired, counted and reported once."""

import numpy as np
import pytest

from streamer.audio.sanitize import FULL_SCALE, Sanitizer


def speech(frames: int = 12_000) -> np.ndarray:
    return (0.15 * np.random.default_rng(0).standard_normal((frames, 2))).clip(-0.9, 0.9).astype(np.float32)


def test_what_is_sane_is_passed_on_as_it_is() -> None:
    block, sanitizer = 2 * speech(), Sanitizer()  # up to 1.8: masters and decoders overshoot
    assert sanitizer.repair(block) is block
    assert sanitizer.notice == ""


def test_one_sample_far_beyond_full_scale_is_clipped_and_the_others_stay() -> None:
    block, sanitizer = speech(), Sanitizer()
    block[100, 0] = 100.0
    repaired = sanitizer.repair(block)
    assert repaired[100, 0] == FULL_SCALE
    repaired[100, 0] = block[100, 0]
    np.testing.assert_array_equal(repaired, block)
    assert sanitizer.notice == "1 sample was far beyond full scale and clipped to ±1."


def test_samples_that_are_not_finite_become_0() -> None:
    block, sanitizer = speech(), Sanitizer()
    block[[1, 2, 3], 0] = [np.nan, np.inf, -np.inf]
    repaired = sanitizer.repair(block)
    np.testing.assert_array_equal(repaired[[1, 2, 3], 0], 0)
    assert sanitizer.notice == "3 samples were not finite numbers and became 0."


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_integers_stored_as_floats_are_scaled_down(bits: int) -> None:
    sanitizer = Sanitizer()
    quiet, loud = 0.1 * speech(), speech().clip(-0.99, 0.99)
    loud[0] = 0.99
    for block in (loud, quiet):
        repaired = sanitizer.repair(np.rint(block * 2 ** (bits - 1)).astype(np.float32))
        np.testing.assert_allclose(repaired, block, atol=2e-5)
    assert sanitizer.notice == f"Its float samples are integers and were divided by {2 ** (bits - 1):,}."


def test_quiet_integers_are_recognised_too() -> None:
    sanitizer = Sanitizer()
    block = np.rint(20 * np.random.default_rng(1).standard_normal((12_000, 1))).astype(np.float32)
    assert np.abs(sanitizer.repair(block)).max() < 0.01


def test_a_float_master_that_is_too_loud_is_clipped_and_not_taken_for_integers() -> None:
    sanitizer = Sanitizer()
    repaired = sanitizer.repair(speech() * 30)
    assert np.abs(repaired).max() == FULL_SCALE
    assert "far beyond full scale" in sanitizer.notice
