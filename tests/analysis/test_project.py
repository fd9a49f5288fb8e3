"""Projections keep groups together and are reproducible."""

import sys
from types import SimpleNamespace

import numpy as np

from streamer.analysis.project import project, standardized
from tests.analysis.clouds import cloud


def test_projections_keep_groups_together_and_repeat_themselves():
    points, labels, _ = cloud()
    labels = np.array(labels)
    for projection, again in zip(project(standardized(points)), project(standardized(points)), strict=True):
        assert projection.points.shape == (len(points), 2)
        np.testing.assert_array_equal(projection.points, again.points)
        middles = np.stack([projection.points[labels == label].mean(0) for label in np.unique(labels)])
        distances = np.linalg.norm(projection.points[:, None] - middles, axis=2)
        assert (np.unique(labels)[distances.argmin(1)] == labels).all()


def test_umap_is_a_third_projection_where_it_is_installed(monkeypatch):
    class Umap:
        def __init__(self, n_neighbors, random_state, n_jobs):
            assert n_neighbors < 15  # fewer than there are recordings

        def fit_transform(self, components):
            return components[:, :2]

    monkeypatch.setattr("streamer.analysis.project.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    points, _, _ = cloud(each=1)
    assert [projection.name for projection in project(standardized(points))] == ["PCA", "t-SNE", "UMAP"]
