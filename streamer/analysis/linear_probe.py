"""Linear probe: recognise the labels from the embeddings with logistic regression, on held-out speakers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, recall_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streamer.arrays import FloatArray, IntArray

FOLDS = 5
INVERSE_PENALTY = 0.1  # C of the L2 penalty, small because there are many dimensions and few recordings
MAX_ITERATIONS = 2_000


@dataclass(frozen=True, slots=True)
class Probe:
    """Scores of a logistic regression, cross-validated so that every speaker is held out once."""

    labels: tuple[str, ...]
    recordings: int
    speakers: int
    folds: int
    uar: float  # unweighted average recall over labels
    uar_by_speaker: tuple[float, float]  # mean and standard deviation over speakers; UAR over a speaker's own labels
    accuracy: float
    confusion: IntArray  # [L, L] counts; rows are true labels, columns predicted ones
    predicted: list[str]  # of all R recordings, each while its speaker was held out; empty where it took no part
    own_probability: FloatArray  # [R], of each recording's own label; NaN where it took no part

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.labels)


def linear_probe(embeddings: FloatArray, labels: Sequence[str], speakers: Sequence[str]) -> Probe | None:
    """Cross-validate logistic regression over speakers on `embeddings [R, D]`, standardised on the training folds.

    Recordings without label or speaker are left out. Returns None if fewer than two labels or two speakers remain, or
    if a training fold would hold a single label.
    """
    known = np.array([label != "" and speaker != "" for label, speaker in zip(labels, speakers, strict=True)])
    true, groups = np.array(labels)[known], np.array(speakers)[known]
    names = tuple(np.unique(true).tolist())
    unique_speakers = np.unique(groups)
    if len(names) < 2 or len(unique_speakers) < 2:
        return None
    points = np.asarray(embeddings, dtype=np.float64)[known]
    predicted, own = np.empty_like(true), np.empty(len(true))
    folds = min(FOLDS, len(unique_speakers))
    for train, test in GroupKFold(folds).split(points, true, groups):
        if len(np.unique(true[train])) < 2:
            return None
        regression = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, class_weight="balanced")
        pipeline = make_pipeline(StandardScaler(), regression).fit(points[train], true[train])
        predicted[test] = pipeline.predict(points[test])
        learnt = pipeline.classes_.tolist()  # a label that only held-out speakers have was not learnt: probability 0
        probabilities = pipeline.predict_proba(points[test])
        own[test] = [
            row[learnt.index(label)] if label in learnt else 0.0
            for row, label in zip(probabilities, true[test].tolist(), strict=True)
        ]
    everybody, share = np.full(len(known), "", dtype=true.dtype), np.full(len(known), np.nan)
    everybody[known], share[known] = predicted, own
    by_speaker = [_uar(true[groups == speaker], predicted[groups == speaker]) for speaker in unique_speakers]
    return Probe(
        labels=names,
        recordings=len(true),
        speakers=len(unique_speakers),
        folds=folds,
        uar=_uar(true, predicted),
        uar_by_speaker=(float(np.mean(by_speaker)), float(np.std(by_speaker))),
        accuracy=float((true == predicted).mean()),
        confusion=confusion_matrix(true, predicted, labels=list(names)),
        predicted=everybody.tolist(),
        own_probability=share,
    )


def disagreements(probe: Probe, labels: Sequence[str], most: int) -> list[int]:
    """Return the indices of recordings taken for another label, those whose own is the least probable first."""
    order = [int(index) for index in np.argsort(probe.own_probability, kind="stable")]
    return [index for index in order if probe.predicted[index] not in ("", labels[index])][:most]


def _uar(true: npt.NDArray[np.str_], predicted: npt.NDArray[np.str_]) -> float:
    """Return the recall averaged over the labels that occur in `true`."""
    return float(recall_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0))
