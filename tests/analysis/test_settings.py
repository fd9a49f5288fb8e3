"""Settings that contradict each other, or a model that lacks a part, are refused with the cure."""

import pytest

from streamer.errors import UsageError
from tests.analysis.embedding import embed


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"kind": "codes"}, "--model pretrained"),
        ({"kind": "codes", "pool": "mean"}, "cannot be pooled"),
        ({"bandwidth": 6.0}, "--bandwidth is for"),
        ({"pool": "median"}, "mean, max, attention, learned, multi"),
        ({"pool": "mean", "frames": True}, "one of the two"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_the_cure(folder, tmp_path, options, cure):
    with pytest.raises(UsageError, match=cure):
        embed([folder], tmp_path, **options)
