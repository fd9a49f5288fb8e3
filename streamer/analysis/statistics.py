"""What a set of embeddings looks like in numbers, read in pieces so that millions of frames fit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CHUNK_ROWS = 65_536  # read at once: 64 MB of 128 doubles


@dataclass(frozen=True, slots=True)
class VarianceExplained:
    """The share of the variance that lies between groups, eta squared."""

    share: float  # 0 to 1
    by_chance: float  # what random groups of these sizes would explain: (groups - 1) / (rows - 1)
    groups: int


@dataclass(frozen=True, slots=True)
class Norms:
    """Euclidean lengths of the rows."""

    mean: float
    deviation: float
    smallest: float
    largest: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one set of embeddings. None where a figure has no meaning: for codes, or with fewer than two groups."""

    rows: int
    width: int
    per_label: dict[str, int]  # recordings
    norms: Norms | None
    by_label: VarianceExplained | None
    by_speaker: VarianceExplained | None


def statistics(
    embeddings: npt.NDArray[Any], owners: npt.NDArray[np.int64], labels: Sequence[str], speakers: Sequence[str]
) -> Statistics:
    """Of `embeddings [N, D]`, whose row i comes from recording `owners[i]`; `labels` and `speakers` go by recording."""
    rows, width = embeddings.shape
    continuous = np.issubdtype(embeddings.dtype, np.floating)
    return Statistics(
        rows=rows,
        width=width,
        per_label=dict(sorted(Counter(labels).items())),
        norms=_norms(embeddings) if continuous else None,
        by_label=variance_explained(embeddings, np.asarray(labels)[owners]) if continuous else None,
        by_speaker=variance_explained(embeddings, np.asarray(speakers)[owners]) if continuous else None,
    )


def variance_explained(embeddings: npt.NDArray[Any], groups: npt.NDArray[np.str_]) -> VarianceExplained | None:
    """How much of the total variance of `embeddings [N, D]` lies between the means of `groups [N]`.

    Rows without a group (an empty name) are left out. None where fewer than two groups remain, or nothing varies.
    """
    names, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    grouped = names != ""
    counts = counts[grouped]
    if len(counts) < 2:
        return None
    sums = np.zeros((len(names), embeddings.shape[1]))
    for rows in _chunks(len(embeddings)):
        np.add.at(sums, codes[rows], embeddings[rows].astype(np.float64))
    mean = sums[grouped].sum(axis=0) / counts.sum()
    between = float((counts[:, None] * (sums[grouped] / counts[:, None] - mean) ** 2).sum())
    total = 0.0
    for rows in _chunks(len(embeddings)):
        inside = grouped[codes[rows]]
        total += float(((embeddings[rows][inside].astype(np.float64) - mean) ** 2).sum())
    if total == 0:
        return None
    by_chance = (len(counts) - 1) / (int(counts.sum()) - 1)
    return VarianceExplained(between / total, by_chance, len(counts))


def _norms(embeddings: npt.NDArray[Any]) -> Norms:
    norms = np.concatenate([np.linalg.norm(embeddings[rows], axis=1) for rows in _chunks(len(embeddings))])
    return Norms(float(norms.mean()), float(norms.std()), float(norms.min()), float(norms.max()))


def _chunks(rows: int) -> list[slice]:
    return [slice(begin, begin + CHUNK_ROWS) for begin in range(0, rows, CHUNK_ROWS)]
