"""Metrics by hand-made cases."""

import numpy as np
import pytest

from streamer.training.metrics import bootstrap_interval, confusion, f1_scores, recalls, reliability, uar


def test_recall_is_averaged_over_labels_and_not_over_clips() -> None:
    targets, predicted = np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 0, 1])
    assert uar(targets, predicted) == 0.5
    table = confusion(targets, predicted, 3)
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
