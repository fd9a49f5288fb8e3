"""Baselines on the same folds: loudness, eGeMAPS and ComParE with an SVM, and the teacher with a linear probe.

eGeMAPS: Eyben et al. 2016; ComParE 2016: Schuller et al. 2016. Both are optional: they need opensmile and scikit-learn.
The teacher, with a logistic regression on its features of whole clips, shows what its student can reach.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.array_store import RaggedStore, fingerprint_of_weights
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip
from streamer.decoding.files import READER_VERSION
from streamer.emotion.labels import LABELS
from streamer.evaluation.cross_validation import Folds
from streamer.progress import Progress
from streamer.training.metrics import bootstrap_interval, uar, uar_of_rows
from streamer.training.teacher import WhisperTeacher
from streamer.training.teacher_targets import regression, statistics

Features = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]
Classify = Callable[[Features], Columns]  # features [N, D] → label columns [N]
_SMILE_HZ = 16_000  # openSMILE decides what is voiced differently at other rates; its sets were made at this one
LOUDNESS = "loudness only"
_WIDE = 1000  # number of features above which the SVM is linear


@dataclass(frozen=True)
class BaselineResult:
    """The figures of a baseline on the clips that the checkpoint was tested on."""

    uar: float
    interval: tuple[float, float]  # 95 %, speakers drawn with replacement
    accuracy: float


def fit(features: Features, targets: Columns) -> Classify:
    """Fit a class-balanced SVM on standardised features: linear above 1,000 features, else with a radial kernel.

    Args:
        features: `[N, D]` of the training clips.
        targets: `[N]` their label columns.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    wide = features.shape[1] > _WIDE
    svm = LinearSVC(C=1e-4, class_weight="balanced") if wide else SVC(C=1.0, class_weight="balanced")
    return _fitted(make_pipeline(StandardScaler(), svm), features, targets)


def _fit_regression(features: Features, targets: Columns) -> Classify:
    return _fitted(regression(), features, targets)


def _fitted(pipeline: Any, features: Features, targets: Columns) -> Classify:
    pipeline.fit(features, targets)

    def classify(others: Features) -> Columns:
        predicted_columns: Columns = pipeline.predict(others)
        return predicted_columns

    return classify


@dataclass(frozen=True)
class _Baseline:
    """The features of a clip, and the classifier that is fitted on them."""

    width: int
    extract: Callable[[Samples], Features]
    fit: Callable[[Features, Columns], Classify] = fit
    stored: str = ""  # name of the features' file; "": the first word of the baseline's name


def evaluate_baselines(
    audio: AudioStore,
    folds: Folds,
    work: Path,
    seed: int,
    progress: Progress[Any],
    teacher: WhisperTeacher | None = None,
) -> dict[str, BaselineResult]:
    """Train and test each baseline in every fold; {} without scikit-learn, or if a fold has fewer than two labels.

    Args:
        audio: the recordings of `folds.clips`.
        folds: of one corpus.
        work: a folder that caches the features of openSMILE and of the teacher.
        seed: of the bootstrap interval.
        progress: shows the progress of a loop.
        teacher: adds a row for the teacher.
    """
    targets, tested = folds.targets, folds.tested
    if find_spec("sklearn") is None or any(len(set(targets[train])) < 2 for train, _ in folds.parts):
        return {}
    speakers = [folds.clips[row].speaker for row in tested]
    results = {}
    for name, baseline in _baselines(teacher):
        features = _features(name, baseline, audio, folds.clips, work, progress)
        predicted_columns = np.zeros(len(targets), dtype=np.int64)
        for train, test in progress(folds.parts, f"{name}, folds"):
            predicted_columns[test] = baseline.fit(features[train], targets[train])(features[test])
        right, predicted = targets[tested], predicted_columns[tested]
        results[name] = BaselineResult(
            uar=uar(right, predicted),
            interval=bootstrap_interval(partial(uar_of_rows, right, predicted), speakers, seed),
            accuracy=float(np.mean(right == predicted)),
        )
    return results


def fit_loudness(audio: AudioStore, clips: Sequence[Clip]) -> Classify | None:
    """Fit a classifier on loudness alone; None without scikit-learn, or if the clips have fewer than two labels."""
    if find_spec("sklearn") is None or len({clip.label for clip in clips}) < 2:
        return None
    features = np.stack([loudness_features(audio[clip.key]) for clip in clips])
    return fit(features, np.array([LABELS.index(clip.label) for clip in clips]))


def loudness_features(audio: Samples) -> Features:
    """Return `[6]` figures of the level in dB over 20 ms blocks: mean, deviation, quartiles, range."""
    block = SAMPLE_RATE // 50
    padded = np.pad(audio, (0, -len(audio) % block)).astype(np.float64)
    level_db = 10 * np.log10(np.mean(padded.reshape(-1, block) ** 2, axis=1) + 1e-10)
    low, middle, high = np.percentile(level_db, [25, 50, 75])
    return np.array([level_db.mean(), level_db.std(), low, middle, high, level_db.max() - level_db.min()])


def _baselines(teacher: WhisperTeacher | None) -> Iterator[tuple[str, _Baseline]]:
    yield LOUDNESS, _Baseline(6, loudness_features)
    if find_spec("opensmile") is not None:
        yield "eGeMAPS + SVM", _smile("eGeMAPSv02")
        yield "ComParE + SVM", _smile("ComParE_2016")
    if teacher is not None:
        yield (
            "teacher + regression",
            _Baseline(
                2 * teacher.anatomy.features,
                partial(_teacher_statistics, teacher),
                _fit_regression,
                f"teacher-{fingerprint_of_weights(teacher.state_dict().values())}",
            ),
        )


def _teacher_statistics(teacher: WhisperTeacher, clip: Samples) -> Features:
    features = teacher.features(clip)
    return statistics(features[teacher.describes_sound(features)]).astype(np.float64)


def _smile(feature_set: str) -> _Baseline:
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)

    def extract(audio: Samples) -> Features:
        speech = soxr.resample(audio, SAMPLE_RATE, _SMILE_HZ)
        values: Features = smile.process_signal(speech, _SMILE_HZ).to_numpy(np.float64)[0]
        return np.nan_to_num(values)  # a clip without a voiced frame has no pitch

    return _Baseline(len(smile.feature_names), extract, stored=f"{feature_set.split('_')[0].lower()}-{_SMILE_HZ}")


def _features(
    name: str, baseline: _Baseline, audio: AudioStore, clips: Sequence[Clip], work: Path, progress: Progress[Any]
) -> Features:
    """Return the features `[N, D]` of all clips; those that are cached in `work` are read from there."""
    store = RaggedStore(
        work / f"peer-{baseline.stored or name.split()[0].lower()}-{READER_VERSION}", baseline.width, np.float32
    )
    for clip in progress([clip for clip in clips if clip.key not in store], f"{name}, features"):
        store.append(clip.key, baseline.extract(audio[clip.key])[None])
    return np.stack([store[clip.key][0] for clip in clips]).astype(np.float64)
