import numpy as np
import pytest

from streamer.constants import SAMPLE_RATE
from streamer.corpora.augment import (
    NON_SPEECH,
    Augmentation,
    babble,
    band_limit,
    clip,
    colored_noise,
    gain,
    mix,
    non_speech,
    rms,
    room,
    speed,
)


def tone(frequency_hz: float, seconds: float = 1.0) -> np.ndarray:
    times_s = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.1 * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("samples", [1, 320, 12_345])
def test_augmented_audio_keeps_length_and_dtype(samples: int) -> None:
    always = Augmentation(noise=1, babble=0.5, room=1, band=1, clipping=1)
    audio = rng().standard_normal(samples).astype(np.float32)
    for seed in range(5):
        changed = always(audio, rng(seed), (tone(200), tone(300)))
        assert changed.shape == audio.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


def test_equal_seeds_give_equal_samples_and_the_input_stays() -> None:
    audio = tone(200)
    before = audio.copy()
    augmentation = Augmentation()
    assert np.array_equal(augmentation(audio, rng(7)), augmentation(audio, rng(7)))
    assert not np.array_equal(augmentation(audio, rng(7)), augmentation(audio, rng(8)))
    assert np.array_equal(audio, before)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_is_mixed_at_the_given_ratio(snr_db: float) -> None:
    audio, noise = tone(200), colored_noise(SAMPLE_RATE, "pink", rng())
    added = mix(audio, noise, snr_db) - audio
    assert 20 * np.log10(rms(audio) / rms(added)) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_falls_by_its_colour_per_octave(kind: str, slope_db: float) -> None:
    power = np.abs(np.fft.rfft(colored_noise(10 * SAMPLE_RATE, kind, rng()))) ** 2
    octaves = [10 * np.log10(power[10 * low : 20 * low].mean()) for low in (250, 500, 1000, 2000)]
    assert np.diff(octaves) == pytest.approx(slope_db, abs=0.5)


def test_a_telephone_keeps_the_middle_and_loses_the_rest() -> None:
    for inside in (400, 1000, 3000):
        assert rms(band_limit(tone(inside), 300, 3400)) == pytest.approx(rms(tone(inside)), rel=0.05)
    for outside in (100, 8000):
        assert rms(band_limit(tone(outside), 300, 3400)) < 0.02 * rms(tone(outside))


def test_a_room_decays_after_the_sound() -> None:
    click = np.zeros(SAMPLE_RATE, dtype=np.float32)
    click[0] = 1
    echoed = room(click, rng(), decay_s=0.5)
    assert echoed[0] == pytest.approx(1, abs=1e-4)
    assert rms(echoed[: SAMPLE_RATE // 10][50:]) > 5 * rms(echoed[SAMPLE_RATE // 4 : SAMPLE_RATE // 2]) > 0
    assert rms(echoed[int(0.6 * SAMPLE_RATE) :]) < 1e-6


def test_gain_clipping_and_speed_change_level_peak_and_pitch() -> None:
    audio = tone(200)
    assert rms(gain(audio, -6.0)) == pytest.approx(rms(audio) / 1.995, rel=1e-3)
    assert np.abs(clip(audio, 0.3)).max() == pytest.approx(0.03, rel=1e-3)
    faster = speed(audio, 1.1)
    assert len(faster) == pytest.approx(len(audio) / 1.1, abs=2)
    assert np.abs(np.fft.rfft(faster)).argmax() * SAMPLE_RATE / len(faster) == pytest.approx(220, abs=2)


def test_babble_has_the_given_length_and_silent_recordings_add_nothing() -> None:
    assert babble((tone(200, 0.1), tone(300, 3.0)), 1000, rng()).shape == (1000,)
    assert not babble((np.zeros(100, dtype=np.float32),), 500, rng()).any()


@pytest.mark.parametrize("kind", NON_SPEECH)
@pytest.mark.parametrize("samples", [320, 40_000])
def test_every_non_speech_sound_can_be_rendered(kind: str, samples: int) -> None:
    audio = NON_SPEECH[kind](samples, rng(3))
    assert audio.shape == (samples,)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert rms(audio) > 0


def test_non_speech_stays_in_range() -> None:
    for seed in range(10):
        assert np.abs(non_speech(4000, rng(seed))).max() <= 1
