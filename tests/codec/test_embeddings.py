"""Continuous embeddings of whole recordings, against the encodec package's own."""

import pytest
import torch

from streamer.codec import Encoder
from streamer.codec.embeddings import encode_segments, encoder_embeddings
from tests.codec.encodec_models import encode_with_package, mono_model, stereo_model, stereo_noise
from tests.codec.truth import TOLERANCE, noise, relative_error

torch.set_num_threads(1)  # small tensors: more threads would only wait for each other


@pytest.mark.parametrize(
    ("samples", "batch_size"),
    [
        (1, 1),
        (319, 1),
        (320, 1),
        (2_239, 1),
        (7_777, 1),
        (24_000, 1),
        (1, 3),
        (319, 3),
        (320, 3),
        (2_239, 3),
        (7_777, 3),
    ],
)
def test_embeddings_of_the_mono_model_are_those_of_its_encoder(samples, batch_size):
    audio = noise(samples, batch_size)
    embeddings = encoder_embeddings(mono_model(), audio)
    assert embeddings.shape == (batch_size, 128, -(-samples // 320))
    assert relative_error(embeddings, mono_model().encoder(audio)) <= TOLERANCE
    assert relative_error(encoder_embeddings(Encoder.from_encodec(mono_model()), audio), embeddings) <= TOLERANCE


@pytest.mark.parametrize(("samples", "batch_size"), [(0, 2), (1_000, 2), (47_521, 1), (50_000, 1)])
def test_embeddings_of_the_stereo_model_have_the_segments_and_scales_of_its_encode(samples, batch_size):
    """The decoder multiplies by the scale: equal scales and equal codes mean equal embeddings."""
    audio = stereo_noise(samples, batch_size)
    embeddings = encoder_embeddings(stereo_model(), audio)
    segments = list(encode_segments(stereo_model(), audio))
    frames = encode_with_package(stereo_model(), audio, 24.0)
    assert isinstance(embeddings, list)
    assert len(embeddings) == len(segments) == len(frames)
    for emb, segment, (codes, scale) in zip(embeddings, segments, frames, strict=True):
        assert relative_error(segment.scale, scale) <= TOLERANCE
        assert emb.shape == (batch_size, 128, codes.shape[-1])
        again = stereo_model().quantizer.encode(emb, stereo_model().frame_rate, 24.0).transpose(0, 1)
        assert torch.equal(again, codes)


@pytest.mark.parametrize(
    ("samples", "frames"),
    [
        (24_000, [75]),
        (47_520, [149]),
        (47_521, [149, 1]),
        (48_000, [150, 2]),  # exactly one second is two segments, 152 frames
        (96_000, [150, 150, 3]),
    ],
)
def test_the_stereo_model_cuts_segments_every_47_520_samples_as_the_package_does(samples, frames):
    audio = stereo_noise(samples)
    assert [emb.shape[-1] for emb in encoder_embeddings(stereo_model(), audio)] == frames
    package = encode_with_package(stereo_model(), audio, 24.0)
    assert [codes.shape[-1] for codes, _ in package] == frames
    for segment, (_, scale) in zip(encode_segments(stereo_model(), audio), package, strict=True):
        assert relative_error(segment.scale, scale) <= TOLERANCE


def test_a_louder_recording_has_the_same_embeddings_in_the_model_that_normalises():
    audio = stereo_noise(30_000)
    (quiet,) = encoder_embeddings(stereo_model(), audio)
    (loud,) = encoder_embeddings(stereo_model(), 8 * audio)
    assert relative_error(quiet, loud) <= TOLERANCE


def test_gradients_reach_the_model():
    encoder = Encoder.from_encodec(mono_model()).requires_grad_(True)
    encoder_embeddings(encoder, noise(3_200)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
