"""Temperature scaling and the threshold undo what made probabilities wrong."""

import numpy as np
import pytest

from streamer.training.metrics import reliability
from streamer.training.temperature import choose_threshold, fit_temperature, probabilities


def logits_of(temperature: float, clips: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for how often they are right."""
    rng = np.random.default_rng(0)
    honest = rng.standard_normal((clips, 5)) * 1.5
    probs = probabilities(honest, 1.0)
    targets = (probs.cumsum(axis=1) > rng.random((clips, 1))).argmax(axis=1)
    return honest * temperature, targets


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_behind_miscalibrated_logits_is_recovered(temperature: float) -> None:
    logits, targets = logits_of(temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.1)
    calibrated = probabilities(logits, fit_temperature(logits, targets))
    assert reliability(calibrated, targets).expected_calibration_error < 0.03


def test_labels_that_a_corpus_lacks_get_no_probability() -> None:
    logits = np.array([[1.0, -np.inf, 2.0]])
    assert probabilities(logits, 2.0)[0, 1] == 0
    assert probabilities(logits, 2.0).sum() == pytest.approx(1)


def test_predictions_above_the_threshold_are_more_accurate_by_the_gain() -> None:
    logits, targets = logits_of(1.0)
    probs = probabilities(logits, 1.0)
    threshold = choose_threshold(probs, targets, gain=0.1)
    right, sure = probs.argmax(axis=1) == targets, probs.max(axis=1) >= threshold
    assert right[sure].mean() >= right.mean() + 0.1
    assert sure.mean() >= 0.4


def test_the_threshold_leaves_the_least_share_of_predictions() -> None:
    logits, targets = logits_of(1.0)
    probs = probabilities(logits, 1.0)
    threshold = choose_threshold(probs, targets, gain=0.9, least_answered=0.6)
    assert (probs.max(axis=1) >= threshold).mean() >= 0.6
