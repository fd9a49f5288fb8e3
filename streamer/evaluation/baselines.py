"""Others on the same folds: loudness alone, openSMILE's feature sets with a support vector machine, and the teacher.

eGeMAPS: Eyben et al. 2016; ComParE 2016: Schuller et al. 2016. Both are optional: they need opensmile and scikit-learn.
The teacher, with a logistic regression on its features of whole clips, is what a student of it can reach.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.array_store import RaggedStore, fingerprint_of_weights
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip
from streamer.emotion.labels import LABELS
from streamer.evaluation.cross_validation import Folds
from streamer.progress import Progress
from streamer.training.metrics import bootstrap_interval, uar, uar_of_rows
from streamer.training.teacher import WhisperTeacher
from streamer.training.teacher_targets import STATISTICS, regression, statistics

Features = npt.NDArray[np.float64]
Guesses = npt.NDArray[np.int64]
Classify = Callable[[Features], Guesses]  # [N, D] to the columns of N labels
LOUDNESS = "loudness only"
_WIDE = 1000  # features from which the machine is linear


@dataclass(frozen=True)
class PeerResult:
    """What a peer reaches on the clips that the checkpoint was asked about."""

    uar: float
    interval: tuple[float, float]  # 95 %, speakers drawn with replacement
    accuracy: float


def fit(features: Features, answers: Guesses) -> Classify:
    """A balanced support vector machine on standardised features: linear where they are wide, else with a radial kernel.

    Args:
        features: `[N, D]` of the training clips.
        answers: `[N]` the right columns.
    """
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
    from sklearn.svm import SVC, LinearSVC  # type: ignore[import-untyped]

    wide = features.shape[1] > _WIDE
    machine = LinearSVC(C=1e-4, class_weight="balanced") if wide else SVC(C=1.0, class_weight="balanced")
    return _fitted(make_pipeline(StandardScaler(), machine), features, answers)


def _fit_regression(features: Features, answers: Guesses) -> Classify:
    return _fitted(regression(), features, answers)


def _fitted(pipeline: Any, features: Features, answers: Guesses) -> Classify:
    pipeline.fit(features, answers)

    def classify(others: Features) -> Guesses:
        guesses: Guesses = pipeline.predict(others)
        return guesses

    return classify


@dataclass(frozen=True)
class _Peer:
    """What it knows of a clip, and what learns from that."""

    width: int
    extract: Callable[[Samples], Features]
    fit: Callable[[Features, Guesses], Classify] = fit
    stored: str = ""  # its features' file; "": by the first word of its name


def peer_results(
    audio: AudioStore,
    folds: Folds,
    work: Path,
    seed: int,
    progress: Progress[Any],
    teacher: WhisperTeacher | None = None,
) -> dict[str, PeerResult]:
    """Each peer, trained anew in every fold; {} without scikit-learn, or where a fold has no two labels to learn.

    Args:
        audio: the recordings of `folds.clips`.
        folds: of one corpus.
        work: a folder that keeps the features of openSMILE and of the teacher.
        seed: of the interval's draws.
        progress: shows how far it is.
        teacher: makes one row more.
    """
    answers, tested = folds.answers, folds.tested
    if find_spec("sklearn") is None or any(len(set(answers[train])) < 2 for train, _ in folds.parts):
        return {}
    speakers = [folds.clips[row].speaker for row in tested]
    results = {}
    for name, peer in _peers(teacher):
        features = _features(name, peer, audio, folds.clips, work, progress)
        guesses = np.zeros(len(answers), dtype=np.int64)
        for train, test in progress(folds.parts, f"{name}, folds"):
            guesses[test] = peer.fit(features[train], answers[train])(features[test])
        right, said = answers[tested], guesses[tested]
        results[name] = PeerResult(
            uar=uar(right, said),
            interval=bootstrap_interval(partial(uar_of_rows, right, said), speakers, seed),
            accuracy=float(np.mean(right == said)),
        )
    return results


def fit_loudness(audio: AudioStore, clips: Sequence[Clip]) -> Classify | None:
    """What a level meter alone makes of clips; None without scikit-learn, or where the clips have no two labels."""
    if find_spec("sklearn") is None or len({clip.label for clip in clips}) < 2:
        return None
    features = np.stack([loudness_features(audio[clip.key]) for clip in clips])
    return fit(features, np.array([LABELS.index(clip.label) for clip in clips]))


def loudness_features(audio: Samples) -> Features:
    """`[6]` of the level in dB over 20 ms: mean, deviation, quartiles and range. What a level meter knows."""
    block = SAMPLE_RATE // 50
    padded = np.pad(audio, (0, -len(audio) % block)).astype(np.float64)
    level_db = 10 * np.log10(np.mean(padded.reshape(-1, block) ** 2, axis=1) + 1e-10)
    low, middle, high = np.percentile(level_db, [25, 50, 75])
    return np.array([level_db.mean(), level_db.std(), low, middle, high, level_db.max() - level_db.min()])


def _peers(teacher: WhisperTeacher | None) -> Iterator[tuple[str, _Peer]]:
    yield LOUDNESS, _Peer(6, loudness_features)
    if find_spec("opensmile") is not None:
        yield "eGeMAPS + SVM", _smile("eGeMAPSv02")
        yield "ComParE + SVM", _smile("ComParE_2016")
    if teacher is not None:
        yield (
            "teacher + regression",
            _Peer(
                STATISTICS,
                lambda clip: statistics(teacher.features(clip)).astype(np.float64),
                _fit_regression,
                f"teacher-{fingerprint_of_weights(teacher.state_dict().values())}",
            ),
        )


def _smile(feature_set: str) -> _Peer:
    import opensmile  # type: ignore[import-untyped]

    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)

    def extract(audio: Samples) -> Features:
        values: Features = smile.process_signal(audio, SAMPLE_RATE).to_numpy(np.float64)[0]
        return np.nan_to_num(values)  # a clip without a voiced frame has no pitch

    return _Peer(len(smile.feature_names), extract)


def _features(
    name: str, peer: _Peer, audio: AudioStore, clips: Sequence[Clip], work: Path, progress: Progress[Any]
) -> Features:
    """`[N, D]`, from the store as far as it goes."""
    store = RaggedStore(work / f"peer-{peer.stored or name.split()[0].lower()}", peer.width, np.float32)
    for clip in progress([clip for clip in clips if clip.key not in store], f"{name}, features"):
        store.append(clip.key, peer.extract(audio[clip.key])[None])
    return np.stack([store[clip.key][0] for clip in clips]).astype(np.float64)
