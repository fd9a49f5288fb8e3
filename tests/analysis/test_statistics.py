"""Statistics of embeddings: counts, norms and variance explained."""

import numpy as np
import pytest

from streamer.analysis.statistics import statistics, variance_explained


def test_variance_explained_is_all_between_points_and_none_between_equal_means():
    groups = np.array(["a", "a", "b", "b"])
    apart = np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 5.0], [3.0, 5.0]])
    assert variance_explained(apart, groups).share == pytest.approx(1)
    alike = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    assert variance_explained(alike, groups).share == pytest.approx(0)
    assert variance_explained(apart, np.array(["a"] * 4)) is None
    assert variance_explained(np.ones((4, 2)), groups) is None


def test_variance_explained_leaves_rows_without_a_name_out():
    points = np.array([[0.0], [0.0], [1.0], [1.0], [99.0]])
    explained = variance_explained(points, np.array(["a", "a", "b", "b", ""]))
    assert explained.share == pytest.approx(1)
    assert explained.groups == 2


def test_random_groups_explain_what_chance_explains():
    rng = np.random.default_rng(0)
    explained = variance_explained(rng.normal(size=(2_000, 32)), rng.integers(0, 20, 2_000).astype(str))
    assert explained.share == pytest.approx(explained.by_chance, rel=0.1)


def test_statistics_count_recordings_and_measure_rows():
    rows = np.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]], dtype=np.float32)
    numbers = statistics(rows, np.array([0, 0, 1]), ["a", "b"], ["", ""], ["", ""])
    assert numbers.per_label == {"a": 1, "b": 1}
    assert (numbers.norms.largest, numbers.norms.smallest) == (5, 0)
    assert numbers.by_speaker is None
