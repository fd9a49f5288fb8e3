"""Similarity between labels, and the recordings most similar to a given one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.arrays import FloatArray
from streamer.errors import UsageError


@dataclass(frozen=True, slots=True)
class LabelSimilarity:
    """Similarity of every two labels: the mean over pairs of different recordings, one of each label."""

    labels: tuple[str, ...]
    cosine: FloatArray  # [L, L] similarity, -1 to 1
    euclidean: FloatArray  # [L, L] distance; the unit is one standard deviation of one channel


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A recording similar to another."""

    name: str
    label: str
    speaker: str
    cosine: float  # similarity, -1 to 1
    index: int  # of the recording in the set


def label_similarity(embeddings: FloatArray, labels: Sequence[str]) -> LabelSimilarity | None:
    """Compare labels by standardised `embeddings [R, D]`; recordings without a label are left out.

    Returns None with fewer than two labels.
    """
    names = tuple(sorted(set(labels) - {""}))
    if len(names) < 2:
        return None
    directions = _directions(embeddings)
    members = [np.flatnonzero(np.array(labels) == name) for name in names]
    cosine, euclidean = np.full((2, len(names), len(names)), np.nan)
    for row, first in enumerate(members):
        for column, second in enumerate(members):
            different = first[:, None] != second[None]  # [N, M]: no recording is paired with itself
            if different.any():
                cosine[row, column] = (directions[first] @ directions[second].T)[different].mean()
                euclidean[row, column] = _distances(embeddings[first], embeddings[second])[different].mean()
    return LabelSimilarity(names, cosine, euclidean)


def nearest(
    embeddings: FloatArray,
    reference: int,
    names: Sequence[str],
    labels: Sequence[str],
    speakers: Sequence[str],
    count: int = 10,
) -> list[Neighbour]:
    """Return the `count` other recordings most similar to index `reference` of standardised `embeddings [R, D]`.

    Similarity is the cosine; the most similar comes first.
    """
    directions = _directions(embeddings)
    cosines = directions @ directions[reference]  # [R]
    order = [index for index in np.argsort(-cosines, kind="stable").tolist() if index != reference]
    return [
        Neighbour(names[index], labels[index], speakers[index], float(cosines[index]), index) for index in order[:count]
    ]


def find_recording(names: Sequence[str], wanted: str) -> int:
    """Return the index of the recording whose name in `metadata.csv` is `wanted`, or ends in it.

    Raises:
        UsageError: no recording or several match.
    """
    exact = [index for index, name in enumerate(names) if name == wanted]
    ending = [index for index, name in enumerate(names) if name.endswith(f"/{wanted}") or wanted.endswith(f"/{name}")]
    found = exact or ending
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"No recording is called {wanted}; give a name from metadata.csv.")
    raise UsageError(
        f"{len(found)} recordings are called {wanted}, among them {names[found[0]]}; give more of the path."
    )


def _directions(embeddings: FloatArray) -> FloatArray:
    """Scale rows to length 1; a row of zeros stays as it is."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions: FloatArray = embeddings / np.where(norms == 0, 1, norms)
    return directions


def _distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return Euclidean distances `[N, M]` of rows `[N, D]` and `[M, D]`, without an array `[N, M, D]`."""
    squared = (first**2).sum(1)[:, None] - 2 * first @ second.T + (second**2).sum(1)[None]
    distances: FloatArray = np.sqrt(np.clip(squared, 0, None))
    return distances
