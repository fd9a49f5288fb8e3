"""Voice activity: silero-vad over one stream."""

from functools import cache

import numpy as np
import pytest
import torch

from streamer.audio.level import normalize
from streamer.audio.vad import CHUNK, VAD_CHUNK, VadChunk, VoiceActivityDetector, step_together
from streamer.constants import SAMPLE_RATE


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As in the worker: so small a model gains nothing from a second thread and loses much to waiting for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loaded() -> VoiceActivityDetector:
    detector = VoiceActivityDetector()
    detector.warm_up()
    return detector


@pytest.fixture
def detector(loaded) -> VoiceActivityDetector:
    loaded.reset()
    return loaded


@cache
def _four_seconds() -> np.ndarray:
    n = 4 * SAMPLE_RATE
    t = np.arange(n) / SAMPLE_RATE
    phase = np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    syllable = (t * 5).astype(int) % 3
    spectrum = np.zeros(n // 2 + 1, complex)
    for index, formants in enumerate(((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240))):
        resonances = sum(np.exp(-80 * np.pi * t) * np.sin(2 * np.pi * formant * t) for formant in formants)
        spectrum += np.fft.rfft(pulses * (syllable == index)) * np.fft.rfft(resonances)
    out = np.fft.irfft(spectrum, n) * (0.3 + np.abs(np.sin(2 * np.pi * 2.5 * t)))
    return out / np.sqrt(np.mean(out**2))


def vowels(seconds: float, rms: float = 0.05) -> np.ndarray:
    """A stand-in for speech: a gliding voice through three vowels' formants, five syllables a second, up to 4 s."""
    return (rms * _four_seconds()[: int(seconds * SAMPLE_RATE)]).astype(np.float32)


def noise(seconds: float, rms: float) -> np.ndarray:
    return (rms * np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)


def test_speech_is_detected(detector):
    chunks = detector.step(vowels(4.0))
    assert np.mean([chunk.is_speech for chunk in chunks[15:]]) > 0.8
    assert detector.share(SAMPLE_RATE, 4 * SAMPLE_RATE) > 0.8


def test_faint_speech_is_detected_after_the_level_normaliser(detector):
    detector.step(normalize(vowels(4.0, rms=0.002)[None])[0])
    assert detector.share(SAMPLE_RATE, 4 * SAMPLE_RATE) > 0.6


@pytest.mark.parametrize("rms", [0.0, 0.001, 0.1])
def test_noise_is_no_speech_even_where_the_level_normaliser_raises_it(detector, rms):
    detector.step(normalize(noise(4.0, rms)[None])[0])
    assert detector.share(0, 4 * SAMPLE_RATE) < 0.1


@pytest.mark.parametrize("size", [1, 37, 320, 5760])
def test_chunking_does_not_change_the_result(detector, size):
    audio = vowels(0.5 if size == 1 else 2.0)
    whole = detector.step(audio)
    detector.reset()
    pieces = [chunk for i in range(0, len(audio), size) for chunk in detector.step(audio[i : i + size])]
    count = min(len(whole), len(pieces))
    assert count >= len(audio) // CHUNK - 2
    assert [c.end for c in pieces[:count]] == [c.end for c in whole[:count]]
    np.testing.assert_allclose(
        [c.probability for c in pieces[:count]], [c.probability for c in whole[:count]], atol=1e-3
    )


def test_positions_count_from_where_the_stream_was_reset(detector):
    detector.reset(position=1_000_000)
    chunks = detector.step(vowels(1.0))
    assert [chunk.end for chunk in chunks[:3]] == [1_000_000 + CHUNK * k for k in (1, 2, 3)]
    assert all(0 <= chunk.probability <= 1 for chunk in chunks)


def test_the_result_lags_by_less_than_a_chunk_and_the_resampler(detector):
    chunks = detector.step(vowels(2.0))
    assert 2 * SAMPLE_RATE - chunks[-1].end < CHUNK + 0.02 * SAMPLE_RATE


def test_reset_clears_the_state(detector):
    first = detector.step(vowels(2.0))
    detector.reset()
    assert not detector.speaking
    assert detector.share(0, 2 * SAMPLE_RATE) == 0
    assert detector.step(vowels(2.0)) == first


def test_two_detectors_do_not_share_their_state(detector):
    other = VoiceActivityDetector()
    alone = detector.step(vowels(1.0))
    detector.reset()
    mixed = []
    for i in range(0, SAMPLE_RATE, 6000):
        mixed += detector.step(vowels(1.0)[i : i + 6000])
        other.step(noise(0.25, 0.1))
    np.testing.assert_allclose([c.probability for c in mixed], [c.probability for c in alone[: len(mixed)]], atol=1e-3)


def test_speech_ends_at_a_lower_probability_than_it_begins_at(detector, monkeypatch):
    script = iter([0.4, 0.5, 0.4, 0.36, 0.34, 0.4, 0.5])
    monkeypatch.setattr(detector, "_network", lambda chunks, states: ([next(script)], states))
    chunks = detector.step(np.zeros(CHUNK * 8, np.float32))
    assert [c.is_speech for c in chunks[:7]] == [False, True, True, True, False, False, True]


def classified(detector: VoiceActivityDetector, voiced: list[bool]) -> VoiceActivityDetector:
    detector._history.extend(VadChunk(CHUNK * (i + 1), float(v), v) for i, v in enumerate(voiced))
    return detector


@pytest.mark.parametrize(
    ("start", "end", "share"),
    [
        (0, 4 * CHUNK, 0.5),
        (CHUNK, 2 * CHUNK, 1.0),
        (CHUNK // 2, 3 * CHUNK // 2, 0.5),
        (3 * CHUNK, 9 * CHUNK, 0.0),  # the part that is not classified yet does not count
        (2 * CHUNK, 99 * CHUNK, 0.5),
        (50 * CHUNK, 60 * CHUNK, 0.0),
        (CHUNK, CHUNK, 0.0),
    ],
)
def test_the_share_of_a_window_counts_its_classified_samples(detector, start, end, share):
    assert classified(detector, [False, True, True, False]).share(start, end) == pytest.approx(share)


@pytest.mark.parametrize("enter", [0.15, 0.0, 1.5])
def test_an_impossible_threshold_is_refused(enter):
    with pytest.raises(ValueError, match="threshold of speech"):
        VoiceActivityDetector(enter)


def test_loading_the_model_leaves_the_number_of_threads_alone():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        VoiceActivityDetector()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_samples_complete_no_chunk(detector):
    assert detector.step(np.zeros(0, np.float32)) == []


def test_detectors_that_share_a_network_do_not_disturb_each_other(loaded):
    first, second = VoiceActivityDetector(like=loaded), VoiceActivityDetector(like=loaded)
    speech, hiss = vowels(1.0), noise(1.0, 0.01)
    alone = VoiceActivityDetector().step(speech)
    together = []
    for begin in range(0, SAMPLE_RATE, 6000):
        second.step(hiss[begin : begin + 6000])
        together += first.step(speech[begin : begin + 6000])
    assert [(c.end, c.is_speech) for c in together] == [(c.end, c.is_speech) for c in alone]
    assert [c.probability for c in together] == pytest.approx([c.probability for c in alone], abs=1e-5)
    assert first.share(0, SAMPLE_RATE) > 0 == second.share(0, SAMPLE_RATE)


def test_streams_in_one_batch_get_what_each_gets_alone(loaded):
    audio = [vowels(1.0), noise(1.0, 0.05), vowels(2.0)[SAMPLE_RATE:], vowels(0.2)]
    together, alone = ([VoiceActivityDetector(like=loaded) for _ in audio] for _ in range(2))
    for begin, end in ((0, 700), (700, 7000), (7000, 7000), (7000, 24_000)):
        pieces = [samples[begin:end] for samples in audio]
        classified = step_together(together, pieces)
        for mine, detector, piece in zip(classified, alone, pieces, strict=True):
            expected = detector.step(piece)
            assert [(c.end, c.is_speech) for c in mine] == [(c.end, c.is_speech) for c in expected]
            assert [c.probability for c in mine] == pytest.approx([c.probability for c in expected], abs=1e-5)


def test_the_network_is_that_of_the_packaged_model(loaded):
    from silero_vad import load_silero_vad

    model, chunks = load_silero_vad(), np.random.default_rng(3).normal(0, 0.1, (6, VAD_CHUNK)).astype(np.float32)
    state, ours = loaded._network.fresh(), []
    for chunk in chunks:
        probabilities, (state,) = loaded._network([chunk], [state])
        ours += probabilities
    with torch.inference_mode():
        assert ours == pytest.approx([float(model(torch.from_numpy(chunk), 16_000)) for chunk in chunks], abs=1e-6)
