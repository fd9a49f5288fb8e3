"""Cluster embeddings with K-means and DBSCAN, and compare the clusters with labels and speakers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import DBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score
from sklearn.neighbors import NearestNeighbors

from streamer.arrays import FloatArray, IntArray

SEED = 0
COMPONENTS = 20  # principal components: in more dimensions distances become less informative
NEIGHBOURS = 5  # DBSCAN's min_samples, the points that make a core point; Ester et al., 1996
RADIUS_QUANTILES = (0.3, 0.5, 0.7, 0.9)  # of the distances to the fifth neighbour: the radii to try
MAX_K = 12
SILHOUETTE_SAMPLE = 5_000  # largest number of points for a silhouette, which compares all pairs

Assignment = IntArray  # [R] index of the cluster; -1 is noise


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of clusters with named groups: 0 is chance (nearly, for NMI), 1 is identical."""

    adjusted_rand: float  # Hubert and Arabie, 1985
    mutual_information: float  # normalised by the arithmetic mean of the entropies


@dataclass(frozen=True, slots=True)
class Clustering:
    """One clustering of the recordings."""

    name: str
    clusters: int
    noise: float  # share of recordings in no cluster
    silhouette: float | None  # Rousseeuw, 1987: -1 to 1; None with fewer than two clusters
    with_labels: Agreement | None  # None where fewer than two labels are known
    with_speakers: Agreement | None


def cluster(embeddings: FloatArray, labels: Sequence[str], speakers: Sequence[str]) -> list[Clustering]:
    """Cluster standardised `embeddings [R, D]`, R >= 5, in 20 principal components, with fixed seeds.

    K-means runs with as many clusters as there are labels, and with the number from 2 to 12 that has the best
    silhouette. DBSCAN runs with the one of four radii, quantiles of the distances to the fifth neighbour, that has the
    best silhouette.
    """
    points = PCA(n_components=min(COMPONENTS, *embeddings.shape), random_state=SEED).fit_transform(embeddings)
    found = []
    named = len(set(labels) - {""})
    distinct = len(np.unique(points.round(6), axis=0))  # the same recording may occur twice
    if 2 <= named < distinct:
        found.append(("K-means, as many as labels", _k_means(points, named)))
    trials = [_k_means(points, k) for k in range(2, min(MAX_K, distinct - 1) + 1)]
    best = max(trials, key=lambda trial: _rank(points, trial))
    found.append(("K-means, best silhouette", best))
    radius, assignment = _dbscan(points)
    found.append((f"DBSCAN, radius {radius:.2f}", assignment))
    return [_describe(name, points, assigned, labels, speakers) for name, assigned in found]


def agreement(assignment: Assignment, names: Sequence[str]) -> Agreement | None:
    """Compare clusters `[R]` with names, leaving out empty names; noise counts as a cluster of its own.

    Returns None with fewer than two different names.
    """
    known = np.array([name != "" for name in names])
    groups = np.array(names)[known]
    if len(set(groups.tolist())) < 2:
        return None
    clusters = assignment[known]
    return Agreement(
        float(adjusted_rand_score(groups, clusters)), float(normalized_mutual_info_score(groups, clusters))
    )


def _k_means(points: FloatArray, k: int) -> Assignment:
    assigned: Assignment = KMeans(k, n_init=4, random_state=SEED).fit_predict(points)
    return assigned


def _dbscan(points: FloatArray) -> tuple[float, Assignment]:
    """Return the radius with the best silhouette, and its clusters."""
    count = min(NEIGHBOURS, len(points) - 1)
    distances, _ = (
        NearestNeighbors(n_neighbors=count).fit(points).kneighbors()
    )  # [R, count], excluding the point itself
    radii = [max(float(radius), 1e-9) for radius in np.quantile(distances[:, -1], RADIUS_QUANTILES)]
    trials = [(radius, DBSCAN(eps=radius, min_samples=NEIGHBOURS).fit_predict(points)) for radius in radii]
    return max(trials, key=lambda trial: _rank(points, trial[1]))


def _rank(points: FloatArray, assigned: Assignment) -> float:
    """Return the silhouette for comparison; -2, below any, where it is undefined."""
    silhouette = _silhouette(points, assigned)
    return -2.0 if silhouette is None else silhouette


def _silhouette(points: FloatArray, assigned: Assignment) -> float | None:
    """Return the mean silhouette over the points in clusters; None where it is undefined."""
    inside = assigned >= 0
    clusters = len(set(assigned[inside].tolist()))
    if not 2 <= clusters < int(inside.sum()):
        return None
    size = SILHOUETTE_SAMPLE if int(inside.sum()) > SILHOUETTE_SAMPLE else None
    return float(silhouette_score(points[inside], assigned[inside], sample_size=size, random_state=SEED))


def _describe(
    name: str, points: FloatArray, assigned: Assignment, labels: Sequence[str], speakers: Sequence[str]
) -> Clustering:
    return Clustering(
        name=name,
        clusters=len(set(assigned[assigned >= 0].tolist())),
        noise=float((assigned < 0).mean()),
        silhouette=_silhouette(points, assigned),
        with_labels=agreement(assigned, labels),
        with_speakers=agreement(assigned, speakers),
    )
