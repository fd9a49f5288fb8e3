"""Others on the same split: loudness alone, and openSMILE's feature sets with a support vector machine.

eGeMAPS: Eyben et al. 2016; ComParE 2016: Schuller et al. 2016. Both are optional: they need opensmile and scikit-learn.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.rates import SAMPLE_RATE
from streamer.training.corpora import LABELS, Clip
from streamer.training.material import AudioStore, key_of
from streamer.training.metrics import uar

Features = npt.NDArray[np.float64]
Extract = Callable[[npt.NDArray[np.float32]], Features]


def peer_uars(
    audio: AudioStore, train: Sequence[Clip], test: Sequence[Clip], progress: Callable[[Sequence[Clip], str], Any]
) -> dict[str, float]:
    """UAR on `test` of each peer trained on `train`, both of one corpus; {} without scikit-learn."""
    if find_spec("sklearn") is None:
        return {}
    extractors: dict[str, Extract] = {"loudness only": loudness_features}
    if find_spec("opensmile") is not None:
        extractors["eGeMAPS + SVM"] = _smile("eGeMAPSv02")
        extractors["ComParE + SVM"] = _smile("ComParE_2016")
    results = {}
    for name, extract in extractors.items():
        features = [np.stack([extract(audio[key_of(clip)]) for clip in progress(part, name)]) for part in (train, test)]
        answers = [np.array([LABELS.index(clip.label) for clip in part]) for part in (train, test)]
        results[name] = uar(answers[1], _classify(features[0], answers[0], features[1]))
    return results


def loudness_features(audio: npt.NDArray[np.float32]) -> Features:
    """`[6]` of the level in dB over 20 ms: mean, deviation, quartiles and range. What a level meter knows."""
    block = SAMPLE_RATE // 50
    padded = np.pad(audio, (0, -len(audio) % block)).astype(np.float64)
    level_db = 10 * np.log10(np.mean(padded.reshape(-1, block) ** 2, axis=1) + 1e-10)
    low, middle, high = np.percentile(level_db, [25, 50, 75])
    return np.array([level_db.mean(), level_db.std(), low, middle, high, level_db.max() - level_db.min()])


def _smile(feature_set: str) -> Extract:
    import opensmile  # type: ignore[import-untyped]

    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)

    def extract(audio: npt.NDArray[np.float32]) -> Features:
        values: Features = smile.process_signal(audio, SAMPLE_RATE).to_numpy(np.float64)[0]
        return values

    return extract


def _classify(train: Features, answers: npt.NDArray[np.int64], test: Features) -> npt.NDArray[np.int64]:
    """Standardised by the training speakers, balanced linear SVM for wide features, with a radial kernel for narrow ones."""
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
    from sklearn.svm import SVC, LinearSVC  # type: ignore[import-untyped]

    wide = train.shape[1] > 1000
    machine = LinearSVC(C=1e-4, class_weight="balanced") if wide else SVC(C=1.0, class_weight="balanced")
    guesses: npt.NDArray[np.int64] = make_pipeline(StandardScaler(), machine).fit(train, answers).predict(test)
    return guesses
