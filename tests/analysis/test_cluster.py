"""Clusters that are known to exist are found and compared with labels and speakers."""

import numpy as np

from streamer.analysis.cluster import agreement, cluster
from streamer.analysis.project import standardized
from tests.analysis.clouds import cloud


def test_existing_clusters_are_found_and_equal_the_labels():
    points, labels, speakers = cloud()
    for found in cluster(standardized(points), labels, speakers):
        assert found.clusters == 3
        assert found.silhouette > 0.4
        assert found.with_labels.adjusted_rand > 0.6  # DBSCAN leaves some points out
        assert found.with_speakers.adjusted_rand < 0.1


def test_agreement_with_fewer_than_two_names_is_undefined():
    assert agreement(np.array([0, 1, 0]), ["a", "a", ""]) is None


def test_the_same_recording_may_occur_more_than_once():
    points, labels, speakers = cloud(labels=2, speakers=3, each=1)
    twice = np.concatenate([points, points])
    assert cluster(standardized(twice), labels * 2, speakers * 2)[0].clusters == 2
