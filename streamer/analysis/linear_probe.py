"""A linear probe: how much of the labels a straight line can read out of the embeddings, for voices it never heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.metrics import confusion_matrix, recall_score  # type: ignore[import-untyped]
from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

FOLDS = 5
STRENGTH = 0.1  # C of the L2 penalty: embeddings are many and recordings few
MAX_ITERATIONS = 2_000

Matrix = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Probe:
    """What a logistic regression recognises, each speaker judged by one that never heard them."""

    labels: tuple[str, ...]
    recordings: int
    speakers: int
    folds: int
    uar: float  # unweighted average recall over labels
    uar_by_speaker: tuple[float, float]  # mean and standard deviation over speakers, of each one's own labels
    accuracy: float
    confusion: npt.NDArray[np.int64]  # [L, L] counts; rows are what was meant, columns what was recognised

    @property
    def chance(self) -> float:
        """The UAR of guessing."""
        return 1 / len(self.labels)


def linear_probe(embeddings: Matrix, labels: Sequence[str], speakers: Sequence[str]) -> Probe | None:
    """Logistic regression over `embeddings [R, D]`, standardised in training folds, cross-validated over speakers.

    Recordings without label or speaker are left out. None where fewer than two of either remain, for then it cannot be
    said what an unheard voice would give, or where a fold would have nothing to tell apart.
    """
    known = np.array([label != "" and speaker != "" for label, speaker in zip(labels, speakers, strict=True)])
    meant, groups = np.array(labels)[known], np.array(speakers)[known]
    names = tuple(np.unique(meant).tolist())
    voices = np.unique(groups)
    if len(names) < 2 or len(voices) < 2:
        return None
    points = np.asarray(embeddings, dtype=np.float64)[known]
    recognised = np.empty_like(meant)
    folds = min(FOLDS, len(voices))
    for train, test in GroupKFold(folds).split(points, meant, groups):
        if len(np.unique(meant[train])) < 2:
            return None
        regression = LogisticRegression(C=STRENGTH, max_iter=MAX_ITERATIONS, class_weight="balanced")
        recognised[test] = (
            make_pipeline(StandardScaler(), regression).fit(points[train], meant[train]).predict(points[test])
        )
    own = [_recall(meant[groups == voice], recognised[groups == voice]) for voice in voices]
    return Probe(
        labels=names,
        recordings=len(meant),
        speakers=len(voices),
        folds=folds,
        uar=_recall(meant, recognised),
        uar_by_speaker=(float(np.mean(own)), float(np.std(own))),
        accuracy=float((meant == recognised).mean()),
        confusion=confusion_matrix(meant, recognised, labels=list(names)),
    )


def _recall(meant: npt.NDArray[np.str_], recognised: npt.NDArray[np.str_]) -> float:
    """Averaged over the labels that were meant."""
    return float(recall_score(meant, recognised, labels=np.unique(meant), average="macro", zero_division=0))
