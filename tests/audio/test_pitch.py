"""Voices of very high pitch, found by their moving harmonics."""

import numpy as np
import pytest

from streamer.audio.pitch import STEP, HighVoice, HighVoiceOnDemand, high_pitches
from streamer.constants import SAMPLE_RATE


def harmonic(pitch_hz: np.ndarray, rms: float = 0.05) -> np.ndarray:
    """A tone with harmonics up to 8 kHz, whose pitch is given for each sample."""
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    count = int(8_000 / pitch_hz.max())
    out = np.sum([np.sin(k * phase) / k for k in range(1, count + 1)], axis=0)
    return (rms * out / np.sqrt(np.mean(out**2))).astype(np.float32)


def steady(hz: float, seconds: float = 2.0) -> np.ndarray:
    return np.full(int(seconds * SAMPLE_RATE), hz)


def gliding(hz: float, seconds: float = 2.0) -> np.ndarray:
    return hz * 2 ** (0.15 * np.sin(2 * np.pi * 1.3 * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE))


def present(samples: np.ndarray, size: int = 5_760) -> list[bool]:
    voice = HighVoice()
    pieces = (samples[i : i + size] for i in range(0, len(samples), size))
    return [flag for piece in pieces for flag in voice.take(high_pitches(voice.complete(piece)))]


@pytest.mark.parametrize("hz", [450.0, 600.0, 900.0])
def test_the_pitch_of_a_harmonic_tone_is_measured(hz):
    found = high_pitches(HighVoice().complete(harmonic(steady(hz))))
    assert len(found) == 2 * SAMPLE_RATE // STEP - 1
    np.testing.assert_allclose(found, hz, rtol=0.003)


@pytest.mark.parametrize("hz", [120.0, 300.0, 390.0])
def test_lower_pitches_count_as_none(hz):
    assert not high_pitches(HighVoice().complete(harmonic(steady(hz)))).any()


@pytest.mark.parametrize("hz", [500.0, 700.0])
def test_a_voice_whose_pitch_glides_is_present_within_a_second(hz):
    flags = present(harmonic(gliding(hz)))
    assert not any(flags[:9])
    assert all(flags[31:])


@pytest.mark.parametrize("size", [100, 768, 9_999])
def test_chunking_does_not_change_the_result(size):
    samples = harmonic(gliding(600.0))
    assert present(samples, size) == present(samples)


def test_what_does_not_move_is_no_voice():
    for samples in (
        harmonic(steady(600.0)),
        np.random.default_rng(0).normal(0, 0.05, 48_000).astype(np.float32),
        np.zeros(48_000, np.float32),
        harmonic(gliding(600.0), rms=0.005),  # too faint
    ):
        assert not any(present(samples))


def test_a_voice_that_is_over_is_over_within_a_second():
    flags = present(np.concatenate([harmonic(gliding(600.0)), np.zeros(36_000, np.float32)]))
    assert any(flags)
    assert not any(flags[-10:])


@pytest.mark.parametrize("size", [768, 5_760, 96_000])
@pytest.mark.parametrize("every", [1, 7, 100])
def test_asked_now_and_then_it_answers_as_if_asked_of_every_frame(size, every):
    pieces = [harmonic(gliding(600.0)), np.zeros(20_000, np.float32), harmonic(gliding(500.0)), harmonic(steady(300.0))]
    samples = np.concatenate(pieces)
    expected, voice, answers, frames = present(samples), HighVoiceOnDemand(), {}, 0
    for i in range(0, len(samples), size):
        voice.push(samples[i : i + size])
        complete = min(i + size, len(samples)) // STEP - 1
        wanted = [number for number in range(frames, complete) if number % every == 0]
        if wanted and len(asked := voice.ask(wanted[0], wanted[-1])):
            answers |= voice.answer(high_pitches(asked))
        voice.trim()
        frames = max(frames, complete)
        for number in wanted:
            assert answers.get(number, False) == expected[number]
    assert 0.2 < np.mean(expected) < 0.8
