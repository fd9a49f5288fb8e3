"""The level normaliser: causal, chunking-invariant, and calm."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.front_end import normalize
from streamer.audio.level import BLOCK, TARGET_RMS, LevelNormalizer
from streamer.constants import SAMPLE_RATE


def babble(seconds: float, rms: float, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes like syllables, four a second, with pauses; its active part has about that RMS."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    envelope = np.clip(np.sin(2 * np.pi * 4 * t + rng.uniform(0, 6)), 0, None) * (np.sin(2 * np.pi * 0.4 * t) > -0.6)
    return (rms * 1.6 * envelope * rng.standard_normal(len(t))).astype(np.float32)


def active_rms(audio: np.ndarray) -> float:
    powers = np.square(audio[: len(audio) // BLOCK * BLOCK].reshape(-1, BLOCK)).mean(axis=1)
    return float(np.sqrt(powers[powers > powers.max() / 100].mean()))


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 37, 319, 320, 321, 960, 1920, 5760]), min_size=1, max_size=12))
def test_no_chunking_changes_the_output(sizes):
    audio = babble(2.0, 0.01)[None, : sum(sizes)]
    level = LevelNormalizer()
    cuts = np.cumsum([0, *sizes])
    pieces = [level.step(audio[:, a:b]) for a, b in pairwise(cuts)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), normalize(audio), rtol=1e-6, atol=1e-9)


def test_one_sample_at_a_time_is_the_same_too():
    audio = babble(0.1, 0.01)[None]
    level = LevelNormalizer()
    pieces = [level.step(audio[:, i : i + 1]) for i in range(audio.shape[1])]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), normalize(audio), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("moment", [1, 320, 4801, 12_000])
def test_the_future_never_changes_the_past(moment):
    audio = babble(1.0, 0.02)[None]
    other = audio.copy()
    other[:, moment:] = babble(1.0, 0.5, seed=9)[None, moment:]
    np.testing.assert_array_equal(normalize(audio)[:, :moment], normalize(other)[:, :moment])


def test_a_batch_equals_its_streams_one_by_one():
    audio = np.stack([babble(1.5, rms, seed) for seed, rms in enumerate((0.001, 0.05, 0.4))])
    alone = np.concatenate([normalize(row[None]) for row in audio])
    np.testing.assert_array_equal(normalize(audio), alone)


def test_a_stream_left_out_of_a_step_is_untouched():
    a, b = babble(1.0, 0.01, 1), babble(1.0, 0.1, 2)
    level = LevelNormalizer(2)
    out = [level.step(np.stack([a[:5000], b[:5000]]))]
    skipped = level.step(np.stack([np.ones(700, np.float32), b[5000:5700]]), np.array([False, True]))
    out.append(level.step(np.stack([a[5000:9000], b[5700:9700]])))
    assert not skipped[0].any()
    np.testing.assert_allclose(np.concatenate([o[0] for o in out]), normalize(a[None, :9000])[0], rtol=1e-6, atol=1e-9)
    whole_b = np.concatenate([out[0][1], skipped[1], out[1][1]])
    np.testing.assert_allclose(whole_b, normalize(b[None, :9700])[0], rtol=1e-6, atol=1e-9)


def test_reset_restarts_one_stream_and_leaves_the_others():
    audio = np.stack([babble(1.0, 0.002, 3), babble(1.0, 0.3, 4)])
    level = LevelNormalizer(2)
    level.step(audio)
    before = level.gain_db
    level.reset(np.array([True, False]))
    assert level.gain_db[0] == 0
    assert level.gain_db[1] == before[1]
    np.testing.assert_array_equal(level.step(audio)[0], normalize(audio)[0])


@pytest.mark.parametrize("rms", [0.002, 0.01, 0.05, 0.3])
def test_speech_of_any_loudness_comes_out_at_the_target(rms):
    out = normalize(babble(6.0, rms)[None])[0]
    assert decibels(active_rms(out[2 * SAMPLE_RATE :]) / TARGET_RMS) == pytest.approx(0, abs=2)


@pytest.mark.parametrize("gain_db", [-12, 12])
def test_the_gain_of_the_microphone_is_forgotten_after_the_start(gain_db):
    audio = babble(5.0, 0.02)[None]
    plain = normalize(audio)[0, SAMPLE_RATE:]
    changed = normalize(audio * np.float32(10 ** (gain_db / 20)))[0, SAMPLE_RATE:]
    assert decibels(active_rms(changed) / active_rms(plain)) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("gain_db", [-12, -6, 6, 12])
def test_the_gain_of_the_microphone_is_forgotten_from_the_block_after_the_first_active_one_on(gain_db):
    start = 10 * BLOCK
    audio = np.concatenate([np.zeros(start, np.float32), babble(1.0, 0.03)])[None]
    loud = np.square(audio[0].reshape(-1, BLOCK)).mean(axis=1) > 1e-3 * 0.03**2
    first = int(np.flatnonzero(loud)[0])
    plain = normalize(audio)[0, (first + 1) * BLOCK :]
    changed = normalize(audio * np.float32(10 ** (gain_db / 20)))[0, (first + 1) * BLOCK :]
    assert plain[:BLOCK].any()
    np.testing.assert_allclose(changed, plain, rtol=1e-3, atol=1e-4)


def test_loud_and_soft_within_an_utterance_survive():
    soft, loud = babble(3.0, 0.02, 5), babble(1.0, 0.06, 6)
    out = normalize(np.concatenate([soft, loud])[None])[0]
    difference = decibels(active_rms(out[3 * SAMPLE_RATE :]) / active_rms(out[SAMPLE_RATE : 3 * SAMPLE_RATE]))
    assert difference > 4  # of the 9.5 dB that went in


def test_the_first_loud_block_of_a_stream_does_not_explode():
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    out = normalize(np.concatenate([quiet, babble(1.0, 0.2)])[None])[0]
    powers = np.sqrt(np.square(out.reshape(-1, BLOCK)).mean(axis=1))
    assert (powers > 10 * TARGET_RMS).sum() <= 2  # 20 dB too loud for two blocks (27 ms) at most
    assert np.abs(out).max() <= 1


def test_a_stream_that_begins_loud_is_turned_down_and_never_up():
    out = normalize(babble(1.0, 0.5)[None])
    assert np.abs(out).max() <= 1
    assert active_rms(out[0, SAMPLE_RATE // 2 :]) < 2 * TARGET_RMS


@pytest.mark.parametrize("pause_rms", [0.0, 1e-5, 0.0005])
def test_the_gain_holds_in_a_pause(pause_rms):
    level = LevelNormalizer()
    pause = pause_rms * np.random.default_rng(1).standard_normal((1, 20 * SAMPLE_RATE)).astype(np.float32)
    speech = babble(4.0, 0.02)[None] + pause[:, : 4 * SAMPLE_RATE]
    level.step(np.concatenate([pause[:, : 10 * SAMPLE_RATE], speech], axis=1))
    before = level.gain_db[0]
    level.step(pause)
    assert level.gain_db[0] == pytest.approx(before, abs=1.5)


def test_digital_silence_stays_silence():
    assert not normalize(np.zeros((1, SAMPLE_RATE), np.float32)).any()


def test_a_door_does_not_keep_a_quiet_speaker_out_for_ever():
    slam = 0.5 * np.random.default_rng(2).standard_normal(2400).astype(np.float32)
    audio = np.concatenate([slam, babble(30.0, 0.002)])[None]
    out = normalize(audio)[0, -4 * SAMPLE_RATE :]
    assert decibels(active_rms(out) / TARGET_RMS) == pytest.approx(0, abs=4)


@pytest.mark.parametrize("rms", [1e-6, 1e-3, 0.9, 30.0])
def test_the_gain_stays_between_its_limits(rms):
    level = LevelNormalizer()
    level.step(babble(5.0, rms)[None])
    assert -20 <= level.gain_db[0] <= 40


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_becomes_zero_and_leaves_no_trace(bad):
    audio = babble(1.0, 0.02)[None]
    spoilt, zeroed = audio.copy(), audio.copy()
    spoilt[0, 7777], zeroed[0, 7777] = bad, 0
    np.testing.assert_array_equal(normalize(spoilt), normalize(zeroed))


@pytest.mark.parametrize("shape", [(320,), (2, 320), (1, 1, 320)])
def test_a_wrong_shape_says_what_it_should_have_been(shape):
    with pytest.raises(ValueError, match=r"must be \[1, S\], not"):
        LevelNormalizer(1).step(np.zeros(shape, np.float32))


def test_no_samples_give_no_samples():
    assert LevelNormalizer(3).step(np.zeros((3, 0), np.float32)).shape == (3, 0)


def test_the_given_audio_is_not_changed():
    audio = babble(0.5, 0.01)[None]
    copy = audio.copy()
    normalize(audio)
    np.testing.assert_array_equal(audio, copy)


def test_growing_leaves_the_streams_as_they_are_and_new_ones_are_fresh():
    audio = np.stack([babble(1.0, rms, seed) for seed, rms in enumerate((0.002, 0.3, 0.05))])
    level = LevelNormalizer(2)
    first = level.step(audio[:2, :7777])
    level.grow(3)
    rest = level.step(np.concatenate([audio[:2, 7777:], audio[2:, : audio.shape[1] - 7777]]))
    whole = LevelNormalizer(2)
    np.testing.assert_array_equal(first, whole.step(audio[:2, :7777]))
    np.testing.assert_array_equal(rest[:2], whole.step(audio[:2, 7777:]))
    np.testing.assert_array_equal(rest[2], normalize(audio[2:, : rest.shape[1]])[0])


def test_a_batch_never_shrinks():
    with pytest.raises(ValueError, match="only grows"):
        LevelNormalizer(2).grow(1)
