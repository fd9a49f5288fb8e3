"""Numbers that say how good answers are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from streamer.arrays import Float64Array
from streamer.emotion.labels import LABELS

Integers = npt.NDArray[np.int64]

BINS = 10  # of confidence, for the calibration error and the reliability diagram


def confusion(answers: Integers, guesses: Integers, labels: int) -> npt.NDArray[np.int64]:
    """`[L, L]` counts: rows what it was, columns what was said."""
    table = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(table, (answers, guesses), 1)
    return table


def recalls(table: npt.NDArray[np.int64]) -> Float64Array:
    """`[L]` share of each label's clips that were named; NaN for a label without clips."""
    counts = table.sum(axis=1).astype(np.float64)
    shares: Float64Array = np.divide(np.diag(table), counts, out=np.full(len(table), np.nan), where=counts > 0)
    return shares


def f1_scores(table: npt.NDArray[np.int64]) -> Float64Array:
    """`[L]` harmonic mean of precision and recall; 0 for a label that was never named rightly."""
    total = table.sum(axis=1) + table.sum(axis=0)
    scores: Float64Array = np.divide(2.0 * np.diag(table), total, out=np.zeros(len(table)), where=total > 0)
    return scores


def uar(answers: Integers, guesses: Integers) -> float:
    """Unweighted average recall over the labels that occur in `answers`; NaN without any."""
    if not len(answers):
        return float("nan")
    return float(np.mean([np.mean(guesses[answers == label] == label) for label in np.unique(answers)]))


def uar_of_rows(answers: Integers, guesses: Integers, rows: Integers) -> float:
    """`uar` of some clips."""
    return uar(answers[rows], guesses[rows])


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often an answer of each confidence is right; lists over the bins that hold answers."""

    confidence: tuple[float, ...]  # mean in the bin
    accuracy: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance of accuracy from confidence, by counts (Naeini et al. 2015)."""
        gaps = np.abs(np.subtract(self.confidence, self.accuracy))
        return float(np.average(gaps, weights=self.counts))


def reliability(probs: Float64Array, answers: Integers) -> Reliability:
    """From probabilities `[N, L]` and right columns `[N]`, N >= 1, in ten bins of equal width."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == answers
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
    """The middle 95 % of a metric when speakers, not clips, are drawn with replacement (Efron & Tibshirani 1993).

    Args:
        metric: from the indices of clips to a number.
        speakers: of each clip.
        seed: of the draws.
        rounds: how many draws.
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
    """One row of the table: N clips, or N windows, of one corpus, with answers among its labels."""

    count: int
    uar: float
    interval: tuple[float, float]  # 95 %, speakers drawn with replacement
    accuracy: float
    recall: tuple[float, ...]  # in the order of the corpus's labels
    f1: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]  # rows what it was, columns what was said
    of_speakers: dict[str, float]  # UAR speaker by speaker
    reliability: Reliability
    expected_calibration_error: float
    answered: float  # share at or above the threshold
    answered_accuracy: float  # NaN where none is


def measure(
    probs: Float64Array, answers: Integers, speakers: Sequence[str], labels: Sequence[str], threshold: float, seed: int
) -> Measures:
    """Every number of one row.

    Args:
        probs: `[N, 8]`, N >= 1, each row summing to 1 over `labels` and 0 elsewhere.
        answers: `[N]` the right columns.
        speakers: of each clip or window.
        labels: those that the corpus has.
        threshold: from which probability on an answer is given.
        seed: of the interval's draws.
    """
    guesses = probs.argmax(axis=1)
    columns = [LABELS.index(label) for label in labels]
    table = confusion(answers, guesses, len(LABELS))[np.ix_(columns, columns)]
    right, answered = answers == guesses, probs.max(axis=1) >= threshold
    names, curve = np.asarray(speakers), reliability(probs, answers)
    return Measures(
        count=len(answers),
        uar=uar(answers, guesses),
        interval=bootstrap_interval(partial(uar_of_rows, answers, guesses), speakers, seed),
        accuracy=float(right.mean()),
        recall=tuple(recalls(table).tolist()),
        f1=tuple(f1_scores(table).tolist()),
        confusion=tuple(tuple(row) for row in table.tolist()),
        of_speakers={
            str(name): uar_of_rows(answers, guesses, np.flatnonzero(names == name)) for name in np.unique(names)
        },
        reliability=curve,
        expected_calibration_error=curve.expected_calibration_error,
        answered=float(answered.mean()),
        answered_accuracy=float(right[answered].mean()) if answered.any() else float("nan"),
    )
