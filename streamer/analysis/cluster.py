"""Groups that the embeddings form by themselves, and whether they are labels or speakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import DBSCAN, KMeans  # type: ignore[import-untyped]
from sklearn.decomposition import PCA  # type: ignore[import-untyped]
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score  # type: ignore[import-untyped]
from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]

SEED = 0
COMPONENTS = 20  # distances in more dimensions say less and less
NEIGHBOURS = 5  # DBSCAN: so many make a point a core; Ester et al., 1996
RADIUS_QUANTILES = (0.3, 0.5, 0.7, 0.9)  # of the distances to the fifth neighbour: the radii that are tried
MAX_K = 12
SAMPLE = 5_000  # silhouettes compare all pairs

Matrix = npt.NDArray[np.floating[Any]]
Assignment = npt.NDArray[np.int64]  # [R] number of the cluster; -1 is noise


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well clusters and named groups coincide: 0 is chance (for NMI: nearly), 1 is the same."""

    adjusted_rand: float  # Hubert and Arabie, 1985
    mutual_information: float  # normalised by the arithmetic mean of the entropies


@dataclass(frozen=True, slots=True)
class Clustering:
    """One way to group the recordings."""

    name: str
    clusters: int
    noise: float  # share of recordings in no cluster
    silhouette: float | None  # Rousseeuw, 1987: -1 to 1; None with fewer than two clusters
    with_labels: Agreement | None  # None where fewer than two labels are known
    with_speakers: Agreement | None


def cluster(embeddings: Matrix, labels: Sequence[str], speakers: Sequence[str]) -> list[Clustering]:
    """K-means and DBSCAN over standardised `embeddings [R, D]`, R >= 5, in 20 principal components. Seeded.

    K-means once with as many clusters as there are labels, and once with as many (2 to 12) as give the best silhouette.
    DBSCAN with the radius, out of four quantiles of distances to the fifth neighbour, of the best silhouette.
    """
    points = PCA(n_components=min(COMPONENTS, *embeddings.shape), random_state=SEED).fit_transform(embeddings)
    found = []
    named = len(set(labels) - {""})
    distinct = len(np.unique(points.round(6), axis=0))  # the same recording may be there twice
    if 2 <= named < distinct:
        found.append(("K-means, as many as labels", _k_means(points, named)))
    trials = [_k_means(points, k) for k in range(2, min(MAX_K, distinct - 1) + 1)]
    best = max(trials, key=lambda trial: _order(points, trial))
    found.append(("K-means, best silhouette", best))
    radius, assignment = _dbscan(points)
    found.append((f"DBSCAN, radius {radius:.2f}", assignment))
    return [_describe(name, points, assigned, labels, speakers) for name, assigned in found]


def agreement(assignment: Assignment, names: Sequence[str]) -> Agreement | None:
    """Between clusters and the names of those that have one; noise counts as a cluster of its own."""
    known = np.array([name != "" for name in names])
    told = np.array(names)[known]
    if len(set(told.tolist())) < 2:
        return None
    assigned = assignment[known]
    return Agreement(float(adjusted_rand_score(told, assigned)), float(normalized_mutual_info_score(told, assigned)))


def _k_means(points: Matrix, k: int) -> Assignment:
    assigned: Assignment = KMeans(k, n_init=4, random_state=SEED).fit_predict(points)
    return assigned


def _dbscan(points: Matrix) -> tuple[float, Assignment]:
    """The radius, and the clusters that it gives."""
    count = min(NEIGHBOURS, len(points) - 1)
    distances, _ = NearestNeighbors(n_neighbors=count).fit(points).kneighbors()  # [R, count], without itself
    radii = [max(float(radius), 1e-9) for radius in np.quantile(distances[:, -1], RADIUS_QUANTILES)]
    trials = [(radius, DBSCAN(eps=radius, min_samples=NEIGHBOURS).fit_predict(points)) for radius in radii]
    return max(trials, key=lambda trial: _order(points, trial[1]))


def _order(points: Matrix, assigned: Assignment) -> float:
    silhouette = _silhouette(points, assigned)
    return -2.0 if silhouette is None else silhouette


def _silhouette(points: Matrix, assigned: Assignment) -> float | None:
    """Over the points that are in a cluster."""
    inside = assigned >= 0
    clusters = len(set(assigned[inside].tolist()))
    if not 2 <= clusters < int(inside.sum()):
        return None
    size = SAMPLE if int(inside.sum()) > SAMPLE else None
    return float(silhouette_score(points[inside], assigned[inside], sample_size=size, random_state=SEED))


def _describe(
    name: str, points: Matrix, assigned: Assignment, labels: Sequence[str], speakers: Sequence[str]
) -> Clustering:
    return Clustering(
        name=name,
        clusters=len(set(assigned[assigned >= 0].tolist())),
        noise=float((assigned < 0).mean()),
        silhouette=_silhouette(points, assigned),
        with_labels=agreement(assigned, labels),
        with_speakers=agreement(assigned, speakers),
    )
