"""Whole clips are encoded once and scored from their cached vectors."""

from pathlib import Path

import numpy as np
import pytest

from streamer.constants import POOLED_DIM
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Corpus
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration
from streamer.evaluation.cross_validation import Folds, make_folds
from streamer.evaluation.whole_clips import pool_clips, score_clips
from streamer.training.predict import ClipEncoder
from tests.evaluation.conftest import SEED, silent


@pytest.fixture(scope="module")
def model() -> EmotionDetectionModel:
    return EmotionDetectionModel.from_checkpoint("bundled")


def test_clips_are_encoded_once_for_a_work_folder(
    model: EmotionDetectionModel, spoken: tuple[AudioStore, Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, corpus = spoken
    first = pool_clips(model, audio, corpus, corpus.clips, tmp_path, silent)
    expected = ClipEncoder.from_audio(model, audio).pooled(corpus.clips)
    np.testing.assert_allclose(np.stack([first[clip] for clip in corpus.clips]), expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(ClipEncoder, "pooled", lambda *args: pytest.fail("encoded twice"))
    again = pool_clips(model, audio, corpus, corpus.clips, tmp_path, silent)
    assert all(np.array_equal(again[clip], first[clip]) for clip in corpus.clips)


def test_under_holdout_the_own_classifier_predicts_the_test_clips(
    model: EmotionDetectionModel, spoken: tuple[AudioStore, Corpus], tmp_path: Path
) -> None:
    audio, corpus = spoken
    split = Split(SEED, train=("spoken/speaker 0",), validation=(), test=("spoken/speaker 1",))
    folds = make_folds(corpus, "holdout", split, 5)
    pooled = pool_clips(model, audio, corpus, corpus.clips, tmp_path, silent)
    measures = score_clips(model, corpus, [folds], [pooled], Calibration(3.0, 1.0, 0.0), "holdout", SEED)
    predictions = ClipEncoder.from_audio(model, audio).predict([corpus], corpus.clips[1:])
    assert measures.count == 1
    assert measures.accuracy == float(predictions.predicted[0] == predictions.targets[0])
    assert measures.answered == 1


def test_under_loso_each_clip_is_predicted_by_the_checkpoint_that_tests_it(
    model: EmotionDetectionModel, spoken: tuple[AudioStore, Corpus]
) -> None:
    pytest.importorskip("sklearn")
    clips = tuple(clip for clip in spoken[1].clips for _ in range(2))
    corpus = Corpus("spoken", "none", clips)
    rows = np.arange(4)
    per_checkpoint = [Folds(clips, ((rows, rows[:2]),)), Folds(clips, ((rows, rows[2:]),))]
    separable, useless = np.zeros((2, POOLED_DIM), dtype=np.float32), np.zeros((2, POOLED_DIM), dtype=np.float32)
    separable[1] = 1.0
    pooled = [dict(zip(spoken[1].clips, vectors, strict=True)) for vectors in (separable, useless)]
    measures = score_clips(model, corpus, per_checkpoint, pooled, Calibration(3.0, 1.0, 0.6), "loso", SEED)
    assert measures.count == 4
    assert measures.answered == 0.5, "only the first checkpoint's vectors tell the labels apart"
