"""Audio is converted to what a model takes, or refused with the expected shape."""

import pytest
import torch

from streamer.codec.embeddings import encoder_embeddings
from streamer.codec.waveform import AudioConversionWarning, convert_audio
from tests.codec.encodec_models import mono_model, stereo_model, stereo_noise


@pytest.mark.parametrize(
    ("shape", "cure"),
    [
        ((24_000,), r"audio\[None, None\]"),
        ((1, 24_000), r"audio\[None\]"),
        ((1, 24_000, 1), r"transpose\(1, 2\)"),
        ((2, 5, 24_000), "5 channels"),
        ((1, 1, 1, 320), "got"),
    ],
)
@pytest.mark.parametrize(("model", "expected"), [(mono_model, r"\[B, 1, T\]"), (stereo_model, r"\[B, 2, T\]")])
def test_a_wrong_shape_is_refused_with_what_it_should_have_been(model, expected, shape, cure):
    with pytest.raises(ValueError, match=rf"{expected}.*{cure}"):
        encoder_embeddings(model(), torch.zeros(shape))


def test_integers_are_refused():
    with pytest.raises(ValueError, match="32,768"):
        encoder_embeddings(mono_model(), torch.zeros(1, 1, 320, dtype=torch.int16))


def test_another_rate_and_channel_count_are_converted_and_named():
    audio = stereo_noise(44_100)
    with pytest.warns(AudioConversionWarning, match="44,100 Hz stereo was converted to 24,000 Hz mono"):
        embeddings = encoder_embeddings(mono_model(), audio, sample_rate=44_100)
    assert embeddings.shape == (1, 128, 75)
    with pytest.warns(AudioConversionWarning, match="48,000 Hz mono was converted to 48,000 Hz stereo"):
        twice = convert_audio(audio[:, :1], 48_000, stereo_model())
    assert torch.equal(twice, audio[:, :1].expand(-1, 2, -1))


def test_a_tone_keeps_its_pitch_when_the_rate_changes():
    time = torch.arange(16_000) / 16_000
    tone = torch.sin(2 * torch.pi * 440 * time)[None, None]
    with pytest.warns(AudioConversionWarning):
        converted = convert_audio(tone, 16_000, mono_model())
    spectrum = torch.fft.rfft(converted[0, 0]).abs()
    assert converted.shape == (1, 1, 24_000)
    assert spectrum.argmax() == 440
