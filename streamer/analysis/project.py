"""Many dimensions to two: PCA, t-SNE and UMAP."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA  # type: ignore[import-untyped]
from sklearn.manifold import TSNE  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from streamer.extras import install_command

SEED = 0
PERPLEXITY = 30.0  # van der Maaten and Hinton, 2008, advise 5 to 50
MIN_RECORDINGS = 5  # fewer are no cloud
UMAP_HINT = f"UMAP is left out: it is not installed ({install_command('umap')})."

Matrix = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Projection:
    """Recordings in the plane."""

    name: str
    points: Matrix  # [R, 2]
    axes: tuple[str, str]  # with units where there are any


def standardized(embeddings: Matrix) -> Matrix:
    """`[R, D]` with mean 0 and deviation 1 in every channel: none counts for more because its numbers are large."""
    scaled: Matrix = StandardScaler().fit_transform(np.asarray(embeddings, dtype=np.float64))
    return scaled


def project(embeddings: Matrix) -> list[Projection]:
    """Standardised `embeddings [R, D]`, R >= 5, by PCA, t-SNE and, where umap-learn is installed, UMAP. Seeded."""
    principal = PCA(n_components=min(50, *embeddings.shape), random_state=SEED).fit(embeddings)
    components = principal.transform(embeddings)  # [R, up to 50]: what t-SNE and UMAP see, with less noise
    shares = principal.explained_variance_ratio_
    first, second = (f"component {place + 1} ({shares[place]:.0%} of variance)" for place in (0, 1))
    projections = [Projection("PCA", components[:, :2], (first, second))]
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    neighbours = TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(components)
    projections.append(Projection("t-SNE", neighbours, _without_units("t-SNE")))
    if umap_is_installed():
        projections.append(Projection("UMAP", _umap(components), _without_units("UMAP")))
    return projections


def umap_is_installed() -> bool:
    """Whether the extra `umap` is there. Does not import it."""
    return find_spec("umap") is not None


def _umap(components: Matrix) -> Matrix:
    """McInnes, Healy and Melville, 2018 (arXiv 1802.03426), with its usual settings."""
    with catch_warnings():
        simplefilter("ignore")  # it misses tensorflow, and says that a seed costs speed
        umap = import_module("umap")  # slow: it brings a compiler
        mapper = umap.UMAP(n_neighbors=min(15, len(components) - 1), random_state=SEED, n_jobs=1)
        points: Matrix = mapper.fit_transform(components)
        return points


def _without_units(name: str) -> tuple[str, str]:
    return f"{name} 1 (no unit)", f"{name} 2 (no unit)"
