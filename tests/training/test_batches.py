"""Which clips an epoch draws."""

from pathlib import Path

import numpy as np

from streamer.corpora.corpus import Clip
from streamer.training.batches import draw_epoch
from streamer.training.windows import NON_SPEECH


def test_an_epoch_draws_small_corpora_more_often_and_no_clip_twice_before_all() -> None:
    large = [Clip(Path(f"{number}.wav"), "large", "sad", "1") for number in range(100)]
    small = [Clip(Path(f"{number}.wav"), "small", "sad", "1") for number in range(4)]
    keys = draw_epoch([*large, *small], 0.1, np.random.default_rng(0))
    counts = {key: keys.count(key) for key in keys}
    assert counts[NON_SPEECH] == 10
    assert sum(key.startswith("small/") for key in keys) == round(104 * 2 / 12)
    of_small = [counts[key] for key in counts if key.startswith("small/")]
    assert max(of_small) - min(of_small) <= 1
    assert max(counts[key] for key in counts if key.startswith("large/")) == 1
