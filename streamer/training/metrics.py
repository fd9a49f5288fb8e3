"""Metrics of predictions: recall, UAR, F1, confusion, calibration error, and intervals over speakers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from streamer.arrays import Float64Array
from streamer.emotion.labels import LABELS

Integers = npt.NDArray[np.int64]

BINS = 10  # of confidence, for the calibration error and the reliability diagram


def confusion(targets: Integers, predicted: Integers, labels: int) -> npt.NDArray[np.int64]:
    """Return counts `[L, L]`: rows are targets, columns predictions."""
    table = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(table, (targets, predicted), 1)
    return table


def recalls(table: npt.NDArray[np.int64]) -> Float64Array:
    """Return the recall of each label, `[L]`; NaN for a label without clips."""
    counts = table.sum(axis=1).astype(np.float64)
    shares: Float64Array = np.divide(np.diag(table), counts, out=np.full(len(table), np.nan), where=counts > 0)
    return shares


def f1_scores(table: npt.NDArray[np.int64]) -> Float64Array:
    """Return the F1 score of each label, `[L]`; 0 for a label that was never predicted correctly."""
    total = table.sum(axis=1) + table.sum(axis=0)
    scores: Float64Array = np.divide(2.0 * np.diag(table), total, out=np.zeros(len(table)), where=total > 0)
    return scores


def uar(targets: Integers, predicted: Integers) -> float:
    """Return the unweighted average recall over the labels that occur in `targets`; NaN without clips."""
    if not len(targets):
        return float("nan")
    return float(np.mean([np.mean(predicted[targets == label] == label) for label in np.unique(targets)]))


def uar_of_rows(targets: Integers, predicted: Integers, rows: Integers) -> float:
    """Return `uar` over some rows."""
    return uar(targets[rows], predicted[rows])


@dataclass(frozen=True, slots=True)
class Reliability:
    """Accuracy at each confidence: lists over the bins that hold predictions."""

    confidence: tuple[float, ...]  # mean in the bin
    accuracy: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def expected_calibration_error(self) -> float:
        """Mean gap between accuracy and confidence, weighted by counts (Naeini et al. 2015)."""
        gaps = np.abs(np.subtract(self.confidence, self.accuracy))
        return float(np.average(gaps, weights=self.counts))


def reliability(probs: Float64Array, targets: Integers) -> Reliability:
    """Bin probabilities `[N, L]` with targets `[N]`, N >= 1, by confidence: ten bins of equal width."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    used = np.unique(bins)
    return Reliability(
        tuple(float(confidence[bins == one].mean()) for one in used),
        tuple(float(right[bins == one].mean()) for one in used),
        tuple(int((bins == one).sum()) for one in used),
    )


def bootstrap_interval(
    metric: Callable[[Integers], float], speakers: Sequence[str], seed: int, rounds: int = 1000
) -> tuple[float, float]:
    """Return the central 95 % of a metric over bootstrap samples of speakers, not clips (Efron & Tibshirani 1993).

    Args:
        metric: maps indices of clips to a number.
        speakers: speaker of each clip.
        seed: of the draws.
        rounds: number of bootstrap samples.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(speakers)
    clips = [np.flatnonzero(names == name) for name in np.unique(names)]
    values = [
        metric(np.concatenate([clips[drawn] for drawn in rng.integers(len(clips), size=len(clips))]))
        for _ in range(rounds)
    ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Measures:
    """Metrics of N clips, or N windows, of one corpus, with predictions restricted to its labels."""

    count: int
    uar: float
    interval: tuple[float, float]  # 95 %, speakers drawn with replacement
    accuracy: float
    recall: tuple[float, ...]  # in the order of the corpus's labels
    f1: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]  # rows are targets, columns predictions
    of_speakers: dict[str, float]  # UAR of each speaker
    reliability: Reliability
    expected_calibration_error: float
    answered: float  # share at or above the threshold
    answered_accuracy: float  # accuracy of these; NaN if there are none


def measure(
    probs: Float64Array, targets: Integers, speakers: Sequence[str], labels: Sequence[str], threshold: float, seed: int
) -> Measures:
    """Compute every metric of one corpus.

    Args:
        probs: `[N, 8]`, N >= 1, each row summing to 1 over `labels` and 0 elsewhere.
        targets: `[N]` columns of the labels.
        speakers: speaker of each clip or window.
        labels: those that the corpus has.
        threshold: least probability at which a label is claimed.
        seed: of the interval's bootstrap samples.
    """
    predicted = probs.argmax(axis=1)
    columns = [LABELS.index(label) for label in labels]
    table = confusion(targets, predicted, len(LABELS))[np.ix_(columns, columns)]
    right, answered = targets == predicted, probs.max(axis=1) >= threshold
    names, curve = np.asarray(speakers), reliability(probs, targets)
    return Measures(
        count=len(targets),
        uar=uar(targets, predicted),
        interval=bootstrap_interval(partial(uar_of_rows, targets, predicted), speakers, seed),
        accuracy=float(right.mean()),
        recall=tuple(recalls(table).tolist()),
        f1=tuple(f1_scores(table).tolist()),
        confusion=tuple(tuple(row) for row in table.tolist()),
        of_speakers={
            str(name): uar_of_rows(targets, predicted, np.flatnonzero(names == name)) for name in np.unique(names)
        },
        reliability=curve,
        expected_calibration_error=curve.expected_calibration_error,
        answered=float(answered.mean()),
        answered_accuracy=float(right[answered].mean()) if answered.any() else float("nan"),
    )
