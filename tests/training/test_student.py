"""The model in training: where it starts, and the loss of a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamer.emotion.labels import LABELS
from streamer.errors import StreamerError
from streamer.training.batches import draw_epoch
from streamer.training.encoder_parts import DEEP_LAYER
from streamer.training.losses import masked_cross_entropy
from streamer.training.student import Student, batch_losses, initial_model
from tests.training.small_run import QUICK, prepared


def test_values_are_dropped_in_training_alone() -> None:
    student = Student(initial_model("measured", len(LABELS)), 128, 1, "upper", dropout=0.5)
    frames, real = torch.randn(2, 128, 6), torch.ones(2, 6, dtype=torch.bool)
    student.train()
    assert not torch.equal(student.outputs(frames, real).logits, student.outputs(frames, real).logits)
    student.eval()
    assert torch.equal(student.outputs(frames, real).logits, student.outputs(frames, real).logits)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_clip_mixed_with_itself_has_the_loss_that_it_has_alone(corpus: Path, work: Path, mixup: float) -> None:
    _, learner, data = prepared(corpus, work, replace(QUICK, dropout=0.0, mixup=mixup))
    student, dtype = learner.student, learner.dtype
    keys = draw_epoch(data.train, 0.0, np.random.default_rng(0))[:1]
    batch = data.windows.batch(keys, np.random.default_rng(0))
    alone = student.outputs(student.encode(batch.inputs, dtype), batch.real).logits
    expected = masked_cross_entropy(alone, batch.targets, batch.masks)
    losses, _ = batch_losses(student, batch, dtype, mixup)
    assert losses[-1].item() == pytest.approx(expected.item(), rel=2e-2)  # bfloat16 rounds the mixture


def test_mixed_clips_have_another_loss_than_clips_alone(corpus: Path, work: Path) -> None:
    _, learner, data = prepared(corpus, work, replace(QUICK, dropout=0.0))
    batch = data.windows.batch([clip.key for clip in data.train], np.random.default_rng(0))
    torch.manual_seed(0)
    mixed, alone = (batch_losses(learner.student, batch, learner.dtype, mixup)[0][-1] for mixup in (1.0, 0.0))
    assert mixed.item() != pytest.approx(alone.item(), rel=1e-3)


def test_lower_is_the_bundled_encoder_below_600_hz_and_random_above() -> None:
    bundled, begun = (initial_model(start, len(LABELS)).encoder.state_dict() for start in ("bundled", "lower"))
    same = {name for name in bundled if torch.equal(bundled[name], begun[name])}
    layers = {name: int(name.split(".")[1]) for name in bundled}
    assert {name for name in bundled if layers[name] < DEEP_LAYER} <= same
    assert not any(layers[name] >= DEEP_LAYER for name in same)


@pytest.mark.parametrize("suffix", ["safetensors", "th"])
def test_an_encoder_s_weights_alone_are_a_start(tmp_path: Path, suffix: str) -> None:
    encoder = initial_model("bundled", len(LABELS)).encoder.state_dict()
    path = tmp_path / f"encoder.{suffix}"
    if suffix == "th":
        torch.save(encoder, path)
    else:
        save_file(encoder, path)
    begun = initial_model(path, len(LABELS)).encoder.state_dict()
    assert all(torch.equal(begun[name], encoder[name]) for name in encoder)


def test_a_damaged_start_is_refused(tmp_path: Path) -> None:
    for name in ("half.safetensors", "half.th"):
        (tmp_path / name).write_bytes(b"\x10" * 64)
        with pytest.raises(StreamerError, match="half"):
            initial_model(tmp_path / name, len(LABELS))
