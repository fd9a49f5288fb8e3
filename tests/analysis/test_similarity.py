"""Similarity of labels and nearest neighbours."""

import numpy as np
import pytest

from streamer.analysis.project import standardized
from streamer.analysis.similarity import find_recording, label_similarity, nearest
from streamer.errors import UsageError
from tests.analysis.clouds import cloud


def test_labels_are_more_similar_to_themselves_than_to_each_other():
    points, labels, _ = cloud()
    similarity = label_similarity(standardized(points), [*labels[:-1], ""])
    assert similarity.labels == ("label0", "label1", "label2")
    for row in range(3):
        assert similarity.cosine[row].argmax() == row
        assert similarity.euclidean[row].argmin() == row
    np.testing.assert_allclose(similarity.cosine, similarity.cosine.T)


def test_similarity_is_the_mean_over_pairs():
    points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    similarity = label_similarity(points, ["a", "a", "b", "b"])
    np.testing.assert_allclose(similarity.cosine, [[0, -0.5], [-0.5, 0]], atol=1e-12)
    across = (2 + np.sqrt(2)) / 2
    np.testing.assert_allclose(similarity.euclidean, [[np.sqrt(2), across], [across, np.sqrt(2)]])


def test_nearest_neighbours_come_in_order_and_without_the_one_itself():
    points = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 1.0], [-1.0, 0.0]])
    found = nearest(points, 0, ["w", "x", "y", "z"], [""] * 4, [""] * 4, count=2)
    assert [one.name for one in found] == ["x", "y"]
    assert found[1].cosine == pytest.approx(np.sqrt(0.5))


def test_a_recording_is_found_by_its_name_or_the_end_of_it():
    names = ["ann/1.wav", "bob/1.wav", "bob/2.wav"]
    assert find_recording(names, "bob/1.wav") == 1
    assert find_recording(names, "2.wav") == 2
    assert find_recording(names, "/data/set/ann/1.wav") == 0
    with pytest.raises(UsageError, match="2 recordings are called"):
        find_recording(names, "1.wav")
    with pytest.raises(UsageError, match="No recording"):
        find_recording(names, "3.wav")
