"""Targets are distributions over a corpus's labels, and losses count the rows that are real."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.emotion.labels import LABELS
from streamer.training.losses import (
    Softness,
    label_mask,
    label_target,
    masked_cross_entropy,
    masked_mean_square,
    no_emotion_target,
)


@given(
    label=st.sampled_from(("sad", "happy")),
    votes=st.none() | st.sampled_from(([0, 0, 0.5, 0.5, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0, 0])),
    softness=st.builds(Softness, votes=st.floats(0, 0.5), smoothing=st.floats(0, 0.5)),
)
def test_a_target_is_a_distribution_over_the_corpus_s_labels(
    label: str, votes: list[float] | None, softness: Softness
) -> None:
    present = ("neutral", "happy", "sad")
    target = label_target(label, present, votes, softness)
    assert target.sum() == pytest.approx(1, abs=1e-5)
    assert (target >= 0).all()
    assert not target[~label_mask(present)].any()


def test_the_teacher_s_soft_label_has_its_share_of_the_target() -> None:
    soft_label = np.array([0, 0, 0.5, 0.5, 0, 0, 0, 0], dtype=np.float32)
    target = label_target("sad", ("happy", "sad"), None, Softness(teacher=0.4, smoothing=0.0), soft_label)
    assert target == pytest.approx([0, 0, 0.2, 0.8, 0, 0, 0, 0])


def test_labels_that_a_corpus_lacks_get_no_gradient() -> None:
    mask = torch.from_numpy(label_mask(("neutral", "sad")))[None]
    target = torch.from_numpy(label_target("sad", ("neutral", "sad"), None, Softness()))[None]
    logits = torch.zeros(1, len(LABELS), requires_grad=True)
    loss = masked_cross_entropy(logits, target, mask)
    assert loss.item() == pytest.approx(np.log(2))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[~mask].any()
    assert gradient[mask].abs().min() > 0


def test_the_target_of_non_speech_is_uniform() -> None:
    assert no_emotion_target() == pytest.approx(1 / len(LABELS))


def test_only_real_rows_are_regressed() -> None:
    values, targets = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    targets[0, 2] = float("inf")
    real = torch.tensor([[True, True, False], [True, False, False]])
    assert float(masked_mean_square(values, targets, real)) == pytest.approx(1)
    assert float(masked_mean_square(values, targets, torch.zeros_like(real))) == 0


def test_a_row_counts_by_its_share() -> None:
    values, real = torch.zeros(2, 4), torch.ones(2, dtype=torch.bool)
    targets = torch.tensor([[1.0] * 4, [2.0] * 4])
    shares = torch.tensor([0.75, 0.5])
    assert float(masked_mean_square(values, targets, real, shares)) == pytest.approx((0.75 * 1 + 0.5 * 4) / 2)
    labels = torch.eye(len(LABELS))[:2]
    masks = torch.ones(2, len(LABELS), dtype=torch.bool)
    whole = masked_cross_entropy(torch.zeros(2, len(LABELS)), labels, masks)
    assert float(masked_cross_entropy(torch.zeros(2, len(LABELS)), labels, masks, shares)) == pytest.approx(
        float(whole) * 0.625
    )
