"""The arithmetic of learning and measuring: forward, losses, calibration, metrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.codec import Encoder
from streamer.constants import FRAME_SAMPLES
from streamer.emotion.labels import LABELS
from streamer.training.losses import (
    Softness,
    label_mask,
    label_target,
    masked_cross_entropy,
    masked_mean_square,
    no_emotion_target,
)
from streamer.training.metrics import (
    bootstrap_interval,
    confusion,
    f1_scores,
    recalls,
    reliability,
    uar,
)
from streamer.training.stems import DEEP_LAYER, LSTM_LAYER, STEM_DIMS, stem, upper
from streamer.training.temperature import choose_threshold, fit_temperature, probabilities


@pytest.mark.parametrize("cut", [LSTM_LAYER, DEEP_LAYER])
@pytest.mark.parametrize("frames", [7, 20])
def test_stem_and_upper_part_are_the_encoder(frames: int, cut: int) -> None:
    torch.manual_seed(0)
    encoder = Encoder()
    audio = 0.1 * torch.randn(2, frames * FRAME_SAMPLES)
    with torch.no_grad():
        whole = encoder(audio[:, None])
        features = stem(encoder, audio, end=cut)
        parts = upper(encoder, features, begin=cut)
    assert features.shape == (2, frames, STEM_DIMS[cut])
    assert parts.shape == whole.shape
    assert torch.allclose(parts, whole, atol=1e-5)


def test_gradients_reach_the_first_convolution_in_bfloat16() -> None:
    torch.manual_seed(0)
    encoder = Encoder()
    stem(encoder, 0.1 * torch.randn(1, 8 * FRAME_SAMPLES), torch.bfloat16).float().square().mean().backward()
    gradient = next(encoder.parameters()).grad
    assert gradient is not None
    assert gradient.dtype == torch.float32
    assert gradient.abs().sum() > 0


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


def test_the_teacher_s_answer_has_its_share_of_the_target() -> None:
    heard = np.array([0, 0, 0.5, 0.5, 0, 0, 0, 0], dtype=np.float32)
    target = label_target("sad", ("happy", "sad"), None, Softness(teacher=0.4, smoothing=0.0), heard)
    assert target == pytest.approx([0, 0, 0.2, 0.8, 0, 0, 0, 0])


def test_a_corpus_says_nothing_about_labels_it_lacks() -> None:
    mask = torch.from_numpy(label_mask(("neutral", "sad")))[None]
    target = torch.from_numpy(label_target("sad", ("neutral", "sad"), None, Softness()))[None]
    logits = torch.zeros(1, len(LABELS), requires_grad=True)
    loss = masked_cross_entropy(logits, target, mask)
    assert loss.item() == pytest.approx(np.log(2))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[~mask].any()
    assert gradient[mask].abs().min() > 0


def test_sound_without_a_voice_is_every_label_alike() -> None:
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


def logits_of(temperature: float, clips: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for how often they are right."""
    rng = np.random.default_rng(0)
    honest = rng.standard_normal((clips, 5)) * 1.5
    probs = probabilities(honest, 1.0)
    answers = (probs.cumsum(axis=1) > rng.random((clips, 1))).argmax(axis=1)
    return honest * temperature, answers


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoilt_probabilities_is_found(temperature: float) -> None:
    logits, answers = logits_of(temperature)
    assert fit_temperature(logits, answers) == pytest.approx(temperature, rel=0.1)
    calibrated = probabilities(logits, fit_temperature(logits, answers))
    assert reliability(calibrated, answers).expected_calibration_error < 0.03


def test_labels_that_a_corpus_lacks_get_no_probability() -> None:
    logits = np.array([[1.0, -np.inf, 2.0]])
    assert probabilities(logits, 2.0)[0, 1] == 0
    assert probabilities(logits, 2.0).sum() == pytest.approx(1)


def test_answers_above_the_threshold_are_better_by_what_was_asked() -> None:
    logits, answers = logits_of(1.0)
    probs = probabilities(logits, 1.0)
    threshold = choose_threshold(probs, answers, gain=0.1)
    right, sure = probs.argmax(axis=1) == answers, probs.max(axis=1) >= threshold
    assert right[sure].mean() >= right.mean() + 0.1
    assert sure.mean() >= 0.4


def test_a_gain_that_costs_too_many_answers_is_not_taken() -> None:
    logits, answers = logits_of(1.0)
    probs = probabilities(logits, 1.0)
    threshold = choose_threshold(probs, answers, gain=0.9, least_answered=0.6)
    assert (probs.max(axis=1) >= threshold).mean() >= 0.6


def test_recall_is_averaged_over_labels_and_not_over_clips() -> None:
    answers, guesses = np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 0, 1])
    assert uar(answers, guesses) == 0.5
    table = confusion(answers, guesses, 3)
    assert table.tolist() == [[4, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert recalls(table)[[0, 2]].tolist() == [1, 0]
    assert np.isnan(recalls(table)[1])
    assert f1_scores(table).tolist() == [1, 0, 0]


def test_calibration_error_is_how_far_confidence_and_accuracy_lie_apart() -> None:
    probs = np.tile([0.75, 0.25], (100, 1))
    curve = reliability(probs, (np.arange(100) >= 55).astype(np.int64))
    assert curve.counts == (100,)
    assert curve.expected_calibration_error == pytest.approx(0.20)


def test_intervals_are_over_speakers() -> None:
    right = np.repeat([1.0, 0.0, 1.0, 0.0], 50)
    speakers = [str(number // 50) for number in range(200)]
    low, high = bootstrap_interval(lambda rows: float(right[rows].mean()), speakers, seed=0)
    assert low <= 0.25 < 0.75 <= high
    assert bootstrap_interval(lambda rows: float(right[rows].mean()), ["one"] * 200, seed=0) == (0.5, 0.5)
