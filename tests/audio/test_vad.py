"""Voice activity: silero-vad over one stream."""

import numpy as np
import pytest
import torch

from streamer.audio.front_end import normalize
from streamer.audio.vad import VoiceActivityDetector, step_together
from streamer.audio.vad_input import CHUNK
from streamer.constants import SAMPLE_RATE
from tests.support.vowels import high_voice, vowels

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run


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


def test_a_high_voice_is_detected_in_the_slowed_audio(detector):
    chunks = detector.step(high_voice())
    assert np.mean([chunk.probability >= 0.5 for chunk in chunks]) < 0.1
    assert np.mean([chunk.is_speech for chunk in chunks]) > 0.8
    assert detector.share(0, len(high_voice())) > 0.8


@pytest.mark.parametrize("size", [100, 512, 5760])
def test_chunking_does_not_change_what_is_detected_in_the_slowed_audio(detector, size):
    whole = detector.step(high_voice())
    detector.reset(position=500)
    pieces = [c for i in range(0, len(high_voice()), size) for c in detector.step(high_voice()[i : i + size])]
    assert [c.slowed_probability for c in pieces] == pytest.approx([c.slowed_probability for c in whole], abs=1e-3)
    assert [(c.end - 500, c.is_speech) for c in pieces] == [(c.end, c.is_speech) for c in whole]


def run_through(detector: VoiceActivityDetector, plain: list[float], slowed: list[float]) -> list[bool]:
    """Return whether each chunk is speech, where the network returns these; 1 and 2 slowed chunks end in it in turn."""
    both: list[float] = []
    for probability in slowed:
        both.extend([probability] * (2 - (len(both) % 3 == 0)))
    return [verdict.speaks for verdict in detector._judge(plain, both)]


def test_speech_ends_at_a_lower_probability_than_it_begins_at(detector):
    plain = [0.5, 0.55, 0.4, 0.36, 0.34, 0.4, 0.55]
    assert run_through(detector, plain, [0.0] * 7) == [False, True, True, True, False, False, True]


def test_in_the_slowed_audio_speech_needs_a_higher_probability(detector):
    slowed = [0.75, 0.8, 0.7, 0.66, 0.64, 0.75, 0.8]
    assert run_through(detector, [0.0] * 7, slowed) == [False, True, True, True, False, False, True]


def test_a_chunk_takes_the_larger_probability_of_the_slowed_chunks_that_end_in_it(detector):
    slowed = [0.1, 0.2, 0.9, 0.3, 0.4, 0.5]  # ends 512 | 1024 1536 | 2048 | 2560 3072
    assert [v.slowed_probability for v in detector._judge([0.0] * 4, slowed)] == [0.1, 0.9, 0.3, 0.5]


@pytest.mark.parametrize("enter", [0.2, 0.5, 0.9, 1.0])
def test_a_higher_threshold_is_higher_for_the_slowed_audio_too(loaded, enter):
    detector = VoiceActivityDetector(enter, like=loaded)
    assert enter - 0.15 == detector._ends <= detector._slowed_ends
    assert enter <= detector._begins <= detector._slowed_begins <= 1


def test_another_threshold_holds_from_the_next_chunk_and_speech_goes_on(loaded):
    detector = VoiceActivityDetector(0.5, like=loaded)
    assert run_through(detector, [0.6, 0.5], [0.0] * 2) == [True, True]
    detector.set_threshold(0.9)
    assert run_through(detector, [0.8, 0.7, 0.8, 0.95], [0.0] * 4) == [True, False, False, True]


def classified(detector: VoiceActivityDetector, voiced: list[bool]) -> VoiceActivityDetector:
    detector._append(bytes(voiced))
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


def glide() -> np.ndarray:
    """2 s of a harmonic tone that glides about 600 Hz: a scream, to which the network gives moderate probabilities."""
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(600 * 2 ** (0.15 * np.sin(2 * np.pi * 1.3 * t))) / SAMPLE_RATE
    return (0.05 * sum(np.sin(k * phase) / k for k in range(1, 12))).astype(np.float32)


@pytest.mark.parametrize(("suspicion", "speech"), [(0.25, True), (0.1, False)])
def test_a_high_gliding_pitch_is_speech_where_the_network_suspects_it(detector, monkeypatch, suspicion, speech):
    real = detector._network.probabilities

    def probabilities(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found, *state = real(*args)
        return torch.full_like(found, suspicion), *state

    monkeypatch.setattr(detector._network, "probabilities", probabilities)
    chunks = detector.step(glide())
    assert not any(chunk.is_speech for chunk in chunks[:9])
    assert all(chunk.is_speech is speech for chunk in chunks[32:])
    assert detector.speaking is speech


def test_a_high_gliding_pitch_is_found_in_any_chunking(detector, monkeypatch):
    monkeypatch.setattr("streamer.audio.vad.SUSPICION", 0.0)
    whole = [chunk.is_speech for chunk in detector.step(glide())]
    detector.reset()
    pieces = [c.is_speech for i in range(0, len(glide()), 700) for c in detector.step(glide()[i : i + 700])]
    assert pieces == whole
    assert any(whole)
