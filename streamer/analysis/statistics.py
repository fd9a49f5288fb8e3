"""Statistics of a set of embeddings, computed in chunks so that millions of frames fit in memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.arrays import FloatArray, IntArray

CHUNK_ROWS = 65_536  # rows read at once: 65,536 x 128 x 8 bytes = 64 MB of float64


@dataclass(frozen=True, slots=True)
class VarianceExplained:
    """Share of the variance that lies between groups, eta squared."""

    share: float  # 0 to 1
    by_chance: float  # expected share of random groups of these sizes: (groups - 1) / (rows - 1)
    groups: int


@dataclass(frozen=True, slots=True)
class Norms:
    """Euclidean norms of the rows."""

    mean: float
    deviation: float
    smallest: float
    largest: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of one set. None where a figure is undefined: for codes, or with fewer than two groups."""

    rows: int
    width: int
    per_label: dict[str, int]  # recordings
    norms: Norms | None
    by_label: VarianceExplained | None
    by_speaker: VarianceExplained | None
    by_corpus: VarianceExplained | None


def statistics(
    embeddings: npt.NDArray[Any],
    owners: IntArray,
    labels: Sequence[str],
    speakers: Sequence[str],
    corpora: Sequence[str],
) -> Statistics:
    """Compute the statistics of `embeddings [N, D]`.

    Args:
        embeddings: the rows.
        owners: `[N]`, the index of the recording that each row comes from.
        labels, speakers, corpora: of the recordings; empty where not known.
    """
    rows, width = embeddings.shape
    continuous = np.issubdtype(embeddings.dtype, np.floating)
    return Statistics(
        rows=rows,
        width=width,
        per_label=dict(sorted(Counter(labels).items())),
        norms=_norms(embeddings) if continuous else None,
        by_label=variance_explained(embeddings, np.asarray(labels)[owners]) if continuous else None,
        by_speaker=variance_explained(embeddings, np.asarray(speakers)[owners]) if continuous else None,
        by_corpus=variance_explained(embeddings, np.asarray(corpora)[owners]) if continuous else None,
    )


def variance_explained(embeddings: npt.NDArray[Any], groups: npt.NDArray[np.str_]) -> VarianceExplained | None:
    """Return the share of the total variance of `embeddings [N, D]` between the means of `groups [N]`.

    Rows without a group (an empty name) are left out. None if fewer than two groups remain, or nothing varies.
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


def centred_within(embeddings: FloatArray, groups: Sequence[str]) -> FloatArray:
    """Return `embeddings [N, D]` without the mean of each of `groups [N]`: what is left differs within groups only."""
    centred = np.array(embeddings, dtype=np.float64)
    names = np.asarray(groups)
    for name in np.unique(names):
        centred[names == name] -= centred[names == name].mean(axis=0)
    return centred


def _norms(embeddings: npt.NDArray[Any]) -> Norms:
    norms = np.concatenate([np.linalg.norm(embeddings[rows], axis=1) for rows in _chunks(len(embeddings))])
    return Norms(float(norms.mean()), float(norms.std()), float(norms.min()), float(norms.max()))


def _chunks(rows: int) -> list[slice]:
    return [slice(begin, begin + CHUNK_ROWS) for begin in range(0, rows, CHUNK_ROWS)]
