"""How alike labels are, and which recordings are most like a given one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamer.errors import UsageError

Matrix = npt.NDArray[np.floating[Any]]
Measure = Literal["cosine", "euclidean"]


@dataclass(frozen=True, slots=True)
class LabelSimilarity:
    """Between every two labels: the mean over pairs of different recordings, one of each."""

    labels: tuple[str, ...]
    cosine: Matrix  # [L, L] similarity, -1 to 1
    euclidean: Matrix  # [L, L] distance; the unit is one standard deviation of one channel


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A recording that is like another."""

    name: str
    label: str
    speaker: str
    cosine: float  # similarity, -1 to 1


def label_similarity(embeddings: Matrix, labels: Sequence[str]) -> LabelSimilarity | None:
    """Over standardised `embeddings [R, D]`; those without a label are left out. None with fewer than two labels."""
    names = tuple(sorted(set(labels) - {""}))
    if len(names) < 2:
        return None
    directions = _directions(embeddings)
    members = [np.flatnonzero(np.array(labels) == name) for name in names]
    cosine, euclidean = np.full((2, len(names), len(names)), np.nan)
    for row, mine in enumerate(members):
        for column, theirs in enumerate(members):
            others = mine[:, None] != theirs[None]  # [N, M]: no recording with itself
            if others.any():
                cosine[row, column] = (directions[mine] @ directions[theirs].T)[others].mean()
                euclidean[row, column] = _distances(embeddings[mine], embeddings[theirs])[others].mean()
    return LabelSimilarity(names, cosine, euclidean)


def nearest(
    embeddings: Matrix,
    which: int,
    names: Sequence[str],
    labels: Sequence[str],
    speakers: Sequence[str],
    count: int = 10,
) -> list[Neighbour]:
    """The `count` recordings most like number `which` of standardised `embeddings [R, D]`, by cosine; not itself."""
    directions = _directions(embeddings)
    alike = directions @ directions[which]  # [R]
    order = [place for place in np.argsort(-alike, kind="stable").tolist() if place != which]
    return [Neighbour(names[place], labels[place], speakers[place], float(alike[place])) for place in order[:count]]


def find_recording(names: Sequence[str], wanted: str) -> int:
    """The place of a recording by its name in `metadata.csv`, or by the end of it.

    Raises:
        UsageError: none or several are called so.
    """
    exact = [place for place, name in enumerate(names) if name == wanted]
    ending = [place for place, name in enumerate(names) if name.endswith(f"/{wanted}") or wanted.endswith(f"/{name}")]
    found = exact or ending
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"No recording is called {wanted}; metadata.csv has the names.")
    raise UsageError(f"{len(found)} recordings are called {wanted}, for one {names[found[0]]}; give more of the path.")


def _directions(embeddings: Matrix) -> Matrix:
    """Rows of length 1; a row of zeros stays one."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions: Matrix = embeddings / np.where(norms == 0, 1, norms)
    return directions


def _distances(mine: Matrix, theirs: Matrix) -> Matrix:
    """`[N, D]` and `[M, D]` to `[N, M]`, without the `[N, M, D]` in between."""
    squared = (mine**2).sum(1)[:, None] - 2 * mine @ theirs.T + (theirs**2).sum(1)[None]
    distances: Matrix = np.sqrt(np.clip(squared, 0, None))
    return distances
