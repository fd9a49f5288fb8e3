"""The offline encoder against the encodec package's."""

import pytest
import torch

from streamer.codec import Encoder, UnsupportedModelError, import_encodec
from tests.codec.truth import (
    TOLERANCE,
    encodec_model,
    encoder,
    new_encodec_model,
    noise,
    offline,
    relative_error,
    worst_frame_error,
)

LENGTHS = [1, 2, 6, 7, 319, 320, 321, 1000, 2239, 2240, 2241, 2560, 3841, 7777]


@pytest.mark.parametrize("samples", LENGTHS)
def test_a_signal_of_any_length_is_encoded_as_the_package_does(samples):
    audio = noise(samples, batch_size=2)
    embeddings = encoder()(audio)
    assert embeddings.shape == (2, 128, -(-samples // 320))
    assert worst_frame_error(embeddings, offline(audio)) <= TOLERANCE


def test_an_empty_signal_has_no_frames():
    assert encoder()(torch.zeros(3, 1, 0)).shape == (3, 128, 0)


def test_embeddings_depend_on_the_audio():
    """Guards the tests themselves: with embeddings that are all bias, every comparison here would pass."""
    assert relative_error(offline(noise(4800, seed=1)), offline(noise(4800, seed=2))) > 0.5


def test_gradients_are_the_packages():
    ours, theirs = noise(2900).requires_grad_(), noise(2900).requires_grad_()
    pull = torch.randn(128, 10, generator=torch.Generator().manual_seed(3))
    (encoder()(ours) * pull).sum().backward()
    (encodec_model().encoder(theirs) * pull).sum().backward()
    assert relative_error(ours.grad, theirs.grad) <= TOLERANCE


def test_every_parameter_learns():
    learner = Encoder()
    learner(noise(3200)).square().sum().backward()
    still = [name for name, parameter in learner.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert still == []


def test_keys_are_those_of_the_package_without_weight_norm():
    theirs = new_encodec_model().encoder
    for module in theirs.modules():
        if hasattr(module, "weight_g"):
            torch.nn.utils.remove_weight_norm(module)
    ours = encoder().state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {
        key: tensor.shape for key, tensor in theirs.state_dict().items()
    }
    for key, tensor in theirs.state_dict().items():
        assert torch.allclose(ours[key], tensor, rtol=1e-6)


def test_copying_leaves_the_model_as_it_was():
    model = new_encodec_model()
    copy = Encoder.from_encodec(model)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    before, after = encodec_model().state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_model_without_weight_norm_is_copied_too():
    model = import_encodec().EncodecModel._get_model([6.0], causal=True, model_norm="none")
    audio = noise(2400)
    with torch.no_grad():
        assert relative_error(Encoder.from_encodec(model)(audio), model.encoder(audio)) <= TOLERANCE


def test_a_copy_has_the_models_type():
    assert {p.dtype for p in Encoder.from_encodec(new_encodec_model().double()).parameters()} == {torch.float64}


@pytest.mark.parametrize(
    "make",
    [
        lambda package: package.EncodecModel.encodec_model_48khz(pretrained=False),
        lambda package: package.EncodecModel._get_model([6.0], causal=False),
        lambda package: package.EncodecModel._get_model([6.0], channels=2),
    ],
    ids=["48 kHz", "not causal", "stereo"],
)
def test_other_models_are_refused_in_one_sentence(make):
    with pytest.raises(UnsupportedModelError, match=r"^[^.]*cannot be streamed; use [^.]*\.[^.]*\.$"):
        Encoder.from_encodec(make(import_encodec()))
