"""The linear probe is scored on held-out speakers."""

import numpy as np
import pytest

from streamer.analysis.linear_probe import linear_probe
from tests.analysis.clouds import cloud


def test_the_probe_recognises_what_is_linear():
    points, labels, speakers = cloud()
    probe = linear_probe(points, labels, speakers)
    assert probe.uar == probe.accuracy == 1.0
    assert probe.chance == pytest.approx(1 / 3)
    assert probe.confusion.tolist() == [[20, 0, 0], [0, 20, 0], [0, 0, 20]]


def test_the_probe_does_not_profit_from_recognising_speakers():
    """Each speaker has a single label and a cluster of their own, which says nothing about held-out speakers."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(8), 10)
    points = 20 * rng.normal(size=(8, 16))[speakers] + rng.normal(size=(80, 16))
    probe = linear_probe(points, [f"label{speaker % 2}" for speaker in speakers], [str(s) for s in speakers])
    assert probe.uar < 0.8


@pytest.mark.parametrize(
    ("labels", "speakers"), [(["a"] * 6, list("xyxyxy")), (list("ababab"), ["x"] * 6), ([""] * 6, [""] * 6)]
)
def test_where_nothing_can_be_learned_no_probe_is_claimed(labels, speakers):
    assert linear_probe(np.random.default_rng(0).normal(size=(6, 4)), labels, speakers) is None
