"""Pictures are drawn, and names are distinguishable in them."""

import numpy as np

from streamer.analysis.plots import COLOURS, MARKERS, _style, confusion_map, scatter, similarity_maps
from streamer.analysis.project import Projection
from streamer.analysis.similarity import label_similarity
from tests.analysis.clouds import PNG, cloud


def test_forty_names_look_different_from_each_other():
    assert len({_style(place) for place in range(40)}) == 40
    assert len({_style(place)[1] for place in range(len(MARKERS))}) == len(COLOURS)


def test_pictures_are_drawn_for_many_few_and_unknown_names():
    projection = Projection("PCA", np.random.default_rng(0).normal(size=(60, 2)), ("x (no unit)", "y (no unit)"))
    for names in ([f"n{place}" for place in range(60)], ["a"] * 60, [""] * 60):
        assert scatter(projection, names, "label").png.startswith(PNG)
    assert scatter(projection, ["a"] * 60, "label").svg == scatter(projection, ["a"] * 60, "label").svg
    points, labels, _ = cloud()
    assert similarity_maps(label_similarity(points, labels)).png.startswith(PNG)
    assert confusion_map(np.eye(3, dtype=np.int64), ["a", "b", "c"]).png.startswith(PNG)
