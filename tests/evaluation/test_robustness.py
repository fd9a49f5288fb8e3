"""Predictions under changes of the audio, beside a classifier of loudness alone."""

import math
from pathlib import Path

import numpy as np
import pytest

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Corpus, read_corpus
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.evaluation import robustness
from streamer.evaluation.robustness import GAINS_DB, SNRS_DB, Robustness, conditions, measure_robustness
from tests.evaluation.conftest import SEED, silent


def tone(amplitude: float = 0.1) -> Samples:
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * 1000 * times_s)).astype(np.float32)


def level_db(audio: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64))))


@pytest.mark.parametrize("gain_db", GAINS_DB)
def test_gain_changes_the_level_by_so_many_decibels(gain_db: int) -> None:
    change = conditions((tone(),))[f"gain {gain_db:+d} dB"]
    changed = change(tone(), np.random.default_rng(SEED))
    assert level_db(changed) - level_db(tone()) == pytest.approx(gain_db, abs=0.01)


@pytest.mark.parametrize("kind", ["white noise", "pink noise", "babble"])
@pytest.mark.parametrize("snr_db", SNRS_DB)
def test_noise_is_added_at_the_named_ratio(kind: str, snr_db: int) -> None:
    talkers = tuple(np.random.default_rng(seed).standard_normal(SAMPLE_RATE).astype(np.float32) for seed in range(5))
    changed = conditions(talkers)[f"{kind} {snr_db} dB"](tone(), np.random.default_rng(SEED))
    assert level_db(tone()) - level_db(changed - tone()) == pytest.approx(snr_db, abs=0.5)


def test_a_telephone_line_keeps_its_passband_only() -> None:
    change = conditions((tone(),))["telephone 300-3400 Hz"]
    assert level_db(change(tone(), np.random.default_rng(SEED))) == pytest.approx(level_db(tone()), abs=0.5)
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    bass = (0.1 * np.sin(2 * np.pi * 80 * times_s)).astype(np.float32)
    assert level_db(change(bass, np.random.default_rng(SEED))) < level_db(bass) - 20


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path) -> Corpus:
    return read_corpus(corpus_folder)


@pytest.fixture
def few_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes, of which the second makes every recording equal."""
    changes = {"nothing": lambda audio, rng: audio, "silence": lambda audio, rng: np.zeros_like(audio)}
    monkeypatch.setattr(robustness, "conditions", lambda talkers: changes)


def measured(corpus: Corpus, split: Split, work: Path) -> Robustness:
    model, clips = EmotionDetectionModel.from_checkpoint("measured"), split.select(corpus.clips, "test")
    return measure_robustness(model, AudioStore(work), [corpus], split, clips, SEED, silent)


@pytest.mark.usefixtures("few_changes")
def test_an_unchanged_recording_has_an_unchanged_prediction(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    split = Split(SEED, train=("ravdess/01", "ravdess/02"), validation=(), test=("ravdess/03",))
    found = measured(corpus, split, tmp_path)
    same, silence = found.changes["nothing"], found.changes["silence"]
    assert found.clips == 4
    assert (same.unchanged, same.loudness_unchanged, same.accuracy) == (1, 1, found.accuracy)
    assert silence.accuracy == 0.5, "equal recordings have one label, and half of the clips have it"
    assert 0 <= found.loudness_accuracy <= 1


@pytest.mark.usefixtures("few_changes")
def test_without_training_clips_there_is_no_loudness_classifier(corpus: Corpus, tmp_path: Path) -> None:
    found = measured(corpus, Split(SEED, train=(), validation=(), test=("ravdess/03",)), tmp_path)
    assert math.isnan(found.loudness_accuracy)
    assert all(math.isnan(survival.loudness_unchanged) for survival in found.changes.values())
