"""The whole model: shapes, calibration, and streaming equal to offline."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from streamer import StreamingEncoder
from streamer.audio.front_end import FrontEnd
from streamer.constants import POOLED_DIM, SAMPLE_RATE
from streamer.emotion import EmotionDetectionModel, SlidingWindow, load_checkpoint
from streamer.emotion.checkpoint import rewrite_card, shipped_path


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundled() -> EmotionDetectionModel:
    return EmotionDetectionModel.from_checkpoint("bundled")


def voice(seconds: float, batch: int = 1, rms: float = 0.02) -> torch.Tensor:
    """[B, 1, T] noise in syllables."""
    n = int(seconds * SAMPLE_RATE)
    syllables = (1 + torch.sin(torch.arange(n) / SAMPLE_RATE * 25)).clamp(min=0.02)
    return rms * syllables * torch.randn(batch, 1, n, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("num_classes", [2, 8])
def test_a_new_model_takes_audio_and_gives_frames_and_logits(num_classes):
    model = EmotionDetectionModel(num_classes).eval()
    audio = voice(0.5, batch=2)
    assert model.get_embeddings(audio).shape == (2, 128, 38)  # ceil(12,000 / 320)
    assert model(audio).shape == (2, num_classes)
    assert len(model.labels) == num_classes
    assert model.card is None


@pytest.mark.parametrize("samples", [1, 319, 320, 2239, 2241])
def test_short_audio_gives_one_frame_for_each_hop_begun(bundled, samples):
    audio = voice(0.2)[:, :, :samples]
    assert bundled.get_embeddings(audio).shape == (1, 128, -(-samples // 320))
    assert torch.isfinite(bundled(audio)).all()


def test_the_encoder_is_frozen_and_the_head_learns():
    model = EmotionDetectionModel(4)
    model(voice(0.3)).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.classifier.parameters())
    assert all(p.grad is not None for p in model.pooling.parameters())


def test_the_temperature_softens_and_keeps_the_order():
    model = EmotionDetectionModel(8).eval()
    pooled = torch.randn(3, POOLED_DIM)
    sharp = model.classify(pooled)
    model.temperature.fill_(2.0)
    torch.testing.assert_close(model.classify(pooled), sharp / 2)
    assert "temperature" not in model.state_dict()


@pytest.mark.parametrize("chunk", [1000, 5760, 24_000])
def test_streaming_and_offline_agree_on_the_probabilities(bundled, chunk):
    audio = voice(2.5)
    front_end, encoder = FrontEnd(1, bundled.highpass_hz), StreamingEncoder(bundled.encoder)
    window = SlidingWindow(bundled.pooling, 1, window_frames=225)
    for piece in audio.split(chunk, dim=2):
        levelled = torch.from_numpy(front_end.step(piece[:, 0].numpy()))
        window.push(encoder.step(levelled[:, None]), encoder.frame_counts)
    window.push(encoder.flush(), encoder.frame_counts)
    streamed = torch.softmax(bundled.classify(window.pool()[0]), dim=1)
    with torch.no_grad():
        offline = torch.softmax(bundled(audio), dim=1)
    torch.testing.assert_close(streamed, offline, atol=1e-4, rtol=0)


def test_with_a_high_pass_in_its_card_an_offset_hardly_matters(tmp_path):
    path = tmp_path / "filtered.safetensors"
    shutil.copy(shipped_path("bundled"), path)
    rewrite_card(path, replace(load_checkpoint(path).card, highpass_hz=60.0))
    model, audio = EmotionDetectionModel.from_checkpoint(path), voice(1.0)
    assert model.highpass_hz == 60.0
    with torch.no_grad():
        torch.testing.assert_close(model(audio + 0.05), model(audio), atol=0.05, rtol=0)


def test_a_batch_equals_its_rows(bundled):
    audio = torch.cat([voice(0.6), voice(0.6, rms=0.3)])
    with torch.no_grad():
        torch.testing.assert_close(bundled(audio), torch.cat([bundled(a[None]) for a in audio]), atol=1e-4, rtol=1e-4)


def test_the_gain_of_a_recording_hardly_matters(bundled):
    audio = voice(3.0)
    with torch.no_grad():
        plain, louder = (torch.softmax(bundled(audio * gain), dim=1) for gain in (1.0, 3.0))
    torch.testing.assert_close(plain, louder, atol=0.1, rtol=0)


@pytest.mark.parametrize("shape", [(24_000,), (1, 24_000), (1, 2, 24_000), (0, 1, 24_000), (1, 1, 0)])
def test_a_wrong_shape_says_what_it_should_have_been(bundled, shape):
    with pytest.raises(ValueError, match=r"must be \[B, 1, T\], mono float at 24 kHz; got"):
        bundled(torch.zeros(shape))


def test_integers_are_not_taken_for_samples(bundled):
    with pytest.raises(ValueError, match=r"in \[-1, 1\]; got torch.int16"):
        bundled(torch.zeros(1, 1, 24_000, dtype=torch.int16))


def test_float64_audio_is_welcome(bundled):
    with torch.no_grad():
        torch.testing.assert_close(bundled(voice(0.3).double()), bundled(voice(0.3)))


def test_one_class_is_no_classification():
    with pytest.raises(ValueError, match="at least 2"):
        EmotionDetectionModel(1)


def test_silence_gives_finite_probabilities(bundled):
    with torch.no_grad():
        assert np.isfinite(bundled(torch.zeros(1, 1, SAMPLE_RATE)).numpy()).all()


def moved(model: EmotionDetectionModel) -> set[str]:
    """Which parts one step of training changes."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameter_groups(encoder_lr=1.0, head_lr=1.0))
    torch.nn.functional.cross_entropy(model(voice(0.2, batch=2)), torch.tensor([0, 1])).backward()
    optimizer.step()
    return {
        name.split(".")[0] for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])
    }


def test_training_moves_the_head_only_until_the_encoder_is_unfrozen():
    model = EmotionDetectionModel()
    assert moved(model) == {"pooling", "classifier"}
    model.unfreeze_encoder()
    assert moved(model) == {"encoder", "pooling", "classifier"}


def test_the_encoder_learns_slowly_and_no_parameter_is_left_out():
    model = EmotionDetectionModel()
    assert [group["name"] for group in model.parameter_groups()] == ["head"]
    model.unfreeze_encoder()
    groups = model.parameter_groups()
    assert [(group["name"], group["lr"]) for group in groups] == [("encoder", 1e-5), ("head", 1e-3)]
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.parameters()}
