"""Baselines are trained and tested on the same folds as the checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.arrays import Samples
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import read_corpus
from streamer.corpora.splits import split_speakers
from streamer.evaluation import baselines
from streamer.evaluation.baselines import BaselineResult, evaluate_baselines, loudness_features
from streamer.evaluation.cross_validation import make_folds
from streamer.training.teacher import TINY, WhisperTeacher
from tests.evaluation.conftest import silent
from tests.support.training_corpus import write_corpus


def test_baselines_are_trained_on_the_same_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    corpus = read_corpus(write_corpus(tmp_path / "corpus"))
    for clip in corpus.clips:  # make the angry ones louder: loudness alone then separates them
        audio, rate_hz = soundfile.read(clip.path)
        soundfile.write(clip.path, audio * (3 if clip.label == "angry" else 0.3), rate_hz)
    store = AudioStore(tmp_path / "work")
    store.prepare(corpus.clips, silent)
    folds = make_folds(corpus, "kfold", split_speakers([corpus]), 2)
    monkeypatch.setattr(baselines, "find_spec", lambda name: name == "sklearn" or None)  # openSMILE would take long

    class Teacher(WhisperTeacher):
        """Its features are the mean amplitude of a clip, and nothing else."""

        def features(self, audio: Samples) -> Samples:
            return np.full((3, TINY.features), np.abs(audio).mean(), dtype=np.float32)

    results = evaluate_baselines(store, folds, tmp_path / "work", 0, silent, Teacher())
    always_right = BaselineResult(1.0, (1.0, 1.0), 1.0)
    assert results == {"loudness only": always_right, "teacher + regression": always_right}


@pytest.mark.slow
def test_opensmile_s_features_are_baselines_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("opensmile")
    corpus = read_corpus(write_corpus(tmp_path / "corpus"))
    store = AudioStore(tmp_path / "work")
    store.prepare(corpus.clips, silent)
    folds = make_folds(corpus, "loso", split_speakers([corpus]), 2)
    results = evaluate_baselines(store, folds, tmp_path / "work", 0, silent)
    assert set(results) == {"loudness only", "eGeMAPS + SVM", "ComParE + SVM"}
    assert all(0 <= result.interval[0] <= result.interval[1] <= 1 for result in results.values())


def test_loudness_features_depend_on_the_level_only() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(24_000).astype(np.float32)
    quiet, loud = loudness_features(audio * 0.01), loudness_features(audio * 0.1)
    assert loud[[0, 2, 3, 4]] - quiet[[0, 2, 3, 4]] == pytest.approx(20, abs=0.01)
    assert loud[[1, 5]] == pytest.approx(quiet[[1, 5]], abs=0.01)
