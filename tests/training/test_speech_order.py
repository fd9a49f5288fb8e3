"""Epochs as streams: rows of batches that follow on from each other."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from streamer.corpora.corpus import Clip
from streamer.training.speech_order import as_streams
from streamer.training.windows import NON_SPEECH

CLIPS = [
    Clip(Path(f"{speaker}-{label}-{take}.wav"), "corpus", label, speaker)
    for speaker in "abcdefgh"
    for label in ("neutral", "sad", "angry")
    for take in range(7)
]
KEYS = [*(clip.key for clip in CLIPS), *[NON_SPEECH] * 10]
SPEAKER = {clip.key: clip.speaker for clip in CLIPS}


def streams(rows: int, restarts: float) -> tuple[list[str], list[bool]]:
    return as_streams(KEYS, CLIPS, rows, restarts, np.random.default_rng(0))


def test_every_key_is_drawn_once_but_for_a_last_batch_that_is_not_whole() -> None:
    keys, follows = streams(8, 0.0)
    assert len(keys) == len(follows) == len(KEYS) // 8 * 8
    assert not Counter(keys) - Counter(KEYS)


@pytest.mark.parametrize("rows", [1, 8, 1000])
def test_what_follows_on_is_of_the_same_speaker(rows: int) -> None:
    keys, follows = streams(rows, 0.0)
    rows = min(rows, len(KEYS))
    heard: list[str | None] = [None] * rows
    for place, (key, goes_on) in enumerate(zip(keys, follows, strict=True)):
        row = place % rows
        if key == NON_SPEECH:
            continue
        assert not goes_on or heard[row] in (None, SPEAKER[key])
        heard[row] = SPEAKER[key]


def test_most_windows_follow_on_and_none_where_all_restart() -> None:
    assert np.mean(streams(8, 0.0)[1]) > 0.8
    assert 0.3 < np.mean(streams(8, 0.5)[1]) < 0.5
    assert not any(streams(8, 1.0)[1])


def test_an_emotion_lasts_for_a_clip_or_several() -> None:
    keys, _ = streams(1, 0.0)
    labels = [key.split("-")[1] for key in keys if key != NON_SPEECH]
    same = [one == other for one, other in pairwise(labels)]
    assert 0.4 < np.mean(same) < 0.8  # by chance, a third


def test_sounds_alone_are_a_stream() -> None:
    assert as_streams([NON_SPEECH] * 3, CLIPS, 1, 0.0, np.random.default_rng(0))[0] == [NON_SPEECH] * 3
